// gnomon watches cameras, finds objects with ONNX models and reports them over MQTT.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"gnomon/camera"
	"gnomon/config"
	"gnomon/devcloud"
)

// Set by the linker; see the Makefile.
var (
	version = "dev"
	commit  = "unknown"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // the work could not be done or finished
	exitUsage  = 2 // wrong arguments or configuration: nothing was started
)

// stopLimit is the longest that the process lives after a signal. Whatever is stuck by then (a reader that takes
// nothing from our output, a driver, a model that is still loading) is left behind.
const stopLimit = 4800 * time.Millisecond

func giveUp() { os.Exit(exitFailed) }

// leave ends the process with what is still running in it.
func leave(err error) { os.Exit(exitCode(err)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	context.AfterFunc(ctx, func() { time.AfterFunc(stopLimit, giveUp) })
	camera.Setup()
	os.Exit(execute(ctx))
}

// program is the whole of gnomon: one command for each thing that people do with it.
func program() *cobra.Command {
	root := &cobra.Command{
		Use:   "gnomon",
		Short: "Watch cameras, find objects, report them over MQTT",
		Long: "gnomon is an edge vision agent: it captures frames, detects objects with ONNX models and publishes\n" +
			"what it sees over MQTT. Without a configuration `gnomon run` shows a demo.",
		Example:       "  gnomon run\n  gnomon detect --annotate out.mp4 street.avi",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		runCommand(),       // the agent: sources -> model -> MQTT
		detectCommand(),    // pictures and video in; a table, JSON or annotated pictures out
		modelsCommand(),    // what a model file is and how it will be read
		benchCommand(),     // speed, cameras, what changed, what an exchange of models costs
		evalCommand(),      // COCO accuracy of a model
		camerasCommand(),   // the cameras of this machine
		doctorCommand(),    // everything that the agent needs, looked at
		configCommand(),    // check a configuration, print the default and the schema
		provisionCommand(), // a certificate of its own for this device, by a claim
		devcloudCommand(),  // the AWS side on this machine, to try deployments out
		versionCommand(),   // versions of everything inside
		probeCommand(),     // hidden: the trial of a new model, in a process of its own
	)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w; see %s --help", err, c.CommandPath())
	})
	return root
}

func execute(ctx context.Context) int { return exitCode(program().ExecuteContext(ctx)) }

// exitCode says what went wrong and returns the code for it.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(os.Stderr, "gnomon: %v\n", err)
	var wrong *usageError
	if errors.As(err, &wrong) || isCobraUsage(err) {
		return exitUsage
	}
	return exitFailed
}

// runAgent is the agent: it starts what takes data before what makes it, and stops in the opposite order.
//
//	sources -> pipeline (model) -> watcher -> spool -> MQTT
//	events, metrics, health, logs -----------^
//	shadow -> deployer -> slots of models, and settings; Parameter Store -> settings
//	supervision -> all of it
//
// path is the configuration file, to read it again when it changes; empty: there is none.
func runAgent(ctx context.Context, path string, settings *fleetSettings, duration time.Duration, stdout io.Writer) (err error) {
	if err := camera.Supported(); err != nil {
		return err
	}
	asked := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	thing, err := settings.config().Thing()
	if err != nil {
		return &usageError{err}
	}
	reload := newReloading(path, settings)
	over := newSupervision(thing, path != "")
	defer func() { err = errors.Join(err, over.close(err)) }()
	if over.safe() {
		settings.beSafe()
	}
	cfg := settings.config()
	defer func() {
		if asked.Err() != nil { // ending as one was asked to says nothing against the settings
			settings.good()
		}
	}()
	who, err := newIdentity(cfg)
	if err != nil {
		return err
	}
	telling, err := newReporting(cfg, who)
	if err != nil {
		return err
	}
	ui := newBoard(stdout)
	sink := newLogSink(ui, lostLines(cfg.Log))
	core, level, err := newLogCore(cfg.Log, sink)
	if err != nil {
		return err
	}
	logging := inBackground(sink.run)
	defer func() { _, _ = logging.stopWithin(lastLines) }()
	log := telling.logTo(core)
	over.begin(log, stop)
	context.AfterFunc(asked, func() { over.stopped(nil) }) // at once: what is stuck may cut the rest short
	watching := inBackground(over.run)
	defer func() { err = errors.Join(err, watching.stop()) }()

	// Sinks first: a broker for the demo, where messages wait, then the connection.
	var broker *background
	if cfg.MQTT.Broker == config.BrokerEmbedded {
		b, err := devcloud.NewBroker(devcloud.BrokerOptions{Log: log})
		if err != nil {
			return err
		}
		cfg.MQTT.Broker = b.Addr()
		broker = inBackground(b.Run)
	}
	defer func() { err = errors.Join(err, broker.stop()) }()
	defer func() { err = errors.Join(err, telling.close()) }()
	if err := telling.open(log); err != nil {
		return err
	}
	agent, err := newAgent(settings, cfg, telling, level, over, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.close()) }()
	mqtt := inBackground(agent.mqtt.Run)
	defer func() { err = errors.Join(err, telling.end(), mqtt.stop()) }()
	telling.begin()

	// The model: the runtime is loaded before it and goes after it.
	runtime, err := openEngine(cfg.Engine, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	// ctx has ended when they are closed: runs in progress are interrupted.
	defer func() { err = errors.Join(err, agent.closeSlots(ctx)) }()
	loading := over.loading()
	err = agent.load(ctx, runtime)
	loading.Close()
	if asked.Err() != nil { // what was cut short because the agent is to end is no failure
		return nil
	}
	if err != nil {
		return err
	}
	forgetLoading()

	// Sources last. They run until they end, or until a signal, --duration or the screen's q ends ctx.
	if err := agent.watch(); err != nil {
		return err
	}
	if err := ui.open(agent, stop); err != nil {
		return err
	}
	if duration > 0 {
		time.AfterFunc(duration, stop)
	}
	telling.measure()
	heart := inBackground(newHeartbeat(agent, over).run)
	context.AfterFunc(ctx, heart.end)
	screen := inBackground(ui.run)
	follower := inBackground(agent.follow)
	context.AfterFunc(ctx, follower.end)
	configured, rotating := inBackground(agent.keepSettings), inBackground(agent.rotation.run)
	reload.notifier, reload.log = over.notifier, log
	rereading := inBackground(reload.run)
	context.AfterFunc(ctx, rereading.end)
	context.AfterFunc(ctx, configured.end)
	context.AfterFunc(ctx, rotating.end)
	agent.tellStart(over.verdict)
	if err := over.notifier.Ready(); err != nil {
		log.Warn("systemd is not told that the agent is ready", zap.Error(err))
	}
	err = agent.run(ctx)
	stop()
	_ = over.notifier.Stopping() // nobody can do anything about it now
	agent.events.happened(eventStopping, sourceAgent, "the agent ends", nil)
	ended, followErr := follower.stopWithin(abandonAfter)
	hung, again := over.restarting()
	err = errors.Join(err, again, followErr, configured.stop(), rotating.stop(), rereading.stop(), heart.stop(), telling.end(), mqtt.stop(), screen.stop(), ui.summary())
	if hung {
		_, _ = logging.stopWithin(lastLines)
		leave(errors.Join(err, telling.close()))
	}
	if !ended { // a model that is being loaded cannot be told to stop, nor its runtime be closed
		agent.follower.abandon()
		over.stopped(err)
		_, _ = logging.stopWithin(lastLines)
		leave(errors.Join(err, telling.close()))
	}
	return err
}
