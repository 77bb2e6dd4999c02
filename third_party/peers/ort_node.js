// The peer of people who know JavaScript: ffmpeg decodes, resizes and pads, and writes raw pictures into a pipe;
// onnxruntime-node runs the model. Detections are neither decoded nor published, which is less than gnomon does.
//
//   node ort_node.js JOB.json
//
// The job is written by third_party/benchtable (see job.go). Prints one JSON object with frames, seconds and fps.
'use strict';
const { spawn } = require('child_process');
const fs = require('fs');
const ort = require('onnxruntime-node');

const warmUp = 10; // frames that are not counted

async function main() {
  const job = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  const options = { executionProviders: ['cpu'] };
  if (job.threads) options.intraOpNumThreads = job.threads;
  if (job.calm) options.extra = { session: { intra_op: { allow_spinning: '0' } } };
  const session = await ort.InferenceSession.create(job.model, options);
  const { width: w, height: h } = job;
  const pad = (job.rgb ? job.pad : [...job.pad].reverse()).map((v) => v.toString(16).padStart(2, '0')).join('');
  const filter = `scale=${job.new_w}:${job.new_h}:flags=bilinear,pad=${w}:${h}:${job.pad_x}:${job.pad_y}:color=0x${pad}`;
  const args = ['-loglevel', 'error', '-nostdin', '-stream_loop', '-1', '-i', job.video, '-vf', filter];
  const ffmpeg = spawn('ffmpeg', [...args, '-f', 'rawvideo', '-pix_fmt', job.rgb ? 'rgb24' : 'bgr24', '-'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const n = w * h;
  const data = new Float32Array(3 * n);
  const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', data, [1, 3, h, w]) };
  const sub = job.mean.map((m) => m / job.scale);
  const div = job.std.map((s) => s / job.scale);
  let frames = -warmUp, start = 0, seconds = 0, sum = 0;
  for await (const picture of pictures(ffmpeg.stdout, 3 * n)) {
    for (let c = 0; c < 3; c++) {
      for (let i = 0, at = c, to = c * n; i < n; i++, at += 3, to++) data[to] = (picture[at] - sub[c]) / div[c];
    }
    const out = await session.run(feeds);
    if (frames === -warmUp) sum = mean(out[session.outputNames[0]].data);
    frames++;
    if (frames === 0) start = performance.now();
    seconds = (performance.now() - start) / 1000;
    if (frames > 0 && seconds >= job.seconds) {
      ffmpeg.kill('SIGKILL'); // before its pipe is closed, of which it would complain
      break;
    }
  }
  if (frames < 1 || seconds < job.seconds) throw new Error('ffmpeg gave no more frames');
  console.log(JSON.stringify({ frames, seconds, fps: frames / seconds, first_mean: sum, version: ort.env.versions.node }));
}

// pictures cuts the stream into pieces of size bytes. The same buffer comes every time.
async function* pictures(stream, size) {
  const buffer = Buffer.alloc(size);
  let have = 0;
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length;) {
      const n = Math.min(size - have, chunk.length - at);
      chunk.copy(buffer, have, at, at + n);
      at += n;
      have += n;
      if (have === size) {
        have = 0;
        yield buffer;
      }
    }
  }
}

function mean(values) {
  let sum = 0;
  for (const v of values) sum += v;
  return sum / values.length;
}

main().then(() => process.exit(0), (err) => {
  console.error(`ort_node: ${err.message}`);
  process.exit(1);
});
