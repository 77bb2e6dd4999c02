package mqttserver

import (
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
)

// Log adapts a zap logger to the broker library's slog, from warnings up: what it has to say below that is of
// interest to its own developers only.
func Log(log *zap.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	core, err := zapcore.NewIncreaseLevelCore(log.Core(), zapcore.WarnLevel)
	if err != nil { // the logger is stricter than that already
		core = log.Core()
	}
	return slog.New(zapslog.NewHandler(core, zapslog.WithName("broker")))
}
