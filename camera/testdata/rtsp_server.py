"""An RTSP server with streams that the tests need, by GStreamer: prints its port, then serves until stdin closes. A second
port is of one that wants the user "viewer" with the password "s3cret:x".

usage: rtsp_server.py [PORT]   default: any that is free

/h264, /mjpeg   640x480 at 25 frames/s; sixteen bars, dark or light, are the bits of the time at which the picture was made, in
                milliseconds of CLOCK_MONOTONIC, the highest on the left
/fast           the same as /h264 at 250 frames/s, 320x240
/udp            /h264, not over TCP
/resize         MJPEG that is 320x240 first, then 640x480, by turns, 2 s each
/short          /h264 for 2 s, then its end
/damaged        /h264 of which every tenth packet is spoilt
"""

import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)

H264 = "x264enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max=25 ! rtph264pay name=pay0 pt=96 config-interval=1"
JPEG = "jpegenc ! rtpjpegpay name=pay0 pt=96"
UDP = GstRtsp.RTSPLowerTrans.UDP


def frames(encode, width=640, height=480, rate=25):
    return f"appsrc name=src is-live=true format=time do-timestamp=true max-buffers=2 leaky-type=downstream caps=video/x-raw,format=GRAY8,width={width},height={height},framerate={rate}/1 ! videoconvert ! video/x-raw,format=I420 ! {encode}"


class Factory(GstRtspServer.RTSPMediaFactory):
    """A stream with its own source of pictures, made anew for each client."""

    def __init__(self, launch, rate=25, sizes=((640, 480),), frames=0, spoil=False, protocols=None):
        super().__init__()
        self.rate, self.sizes, self.frames, self.spoil = rate, sizes, frames, spoil
        self.set_launch("( " + launch + " )")
        self.set_latency(0)
        if protocols is not None:
            self.set_protocols(protocols)

    def do_configure(self, media):
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        element = media.get_element()
        src = element.get_by_name("src")
        if self.spoil:
            element.get_by_name("pay0").get_static_pad("src").add_probe(
                Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, self.spoil_packet, [0])
        stopped = threading.Event()
        media.connect("unprepared", lambda _: stopped.set())
        threading.Thread(target=self.push, args=(src, stopped), daemon=True).start()

    def push(self, src, stopped):
        n, interval = 0, 1 / self.rate
        size = None
        while not stopped.wait(interval):
            want = self.sizes[n // (2 * self.rate) % len(self.sizes)]
            if want != size:
                if size:
                    src.set_property("caps", Gst.Caps.from_string(
                        f"video/x-raw,format=GRAY8,width={want[0]},height={want[1]},framerate={self.rate}/1"))
                size = want
            now = time.monotonic_ns() // 1000000
            row = b"".join(bytes([200 if now >> bit & 1 else 50]) * (size[0] // 16) for bit in reversed(range(16)))
            src.emit("push-buffer", Gst.Buffer.new_wrapped(row * size[1]))
            n += 1
            if n == self.frames:
                src.emit("end-of-stream")
                return

    @staticmethod
    def spoil_packet(_, info, count):
        kind = info.type & Gst.PadProbeType.BUFFER_LIST
        buffers = info.get_buffer_list() if kind else None
        for i in range(buffers.length() if kind else 1):
            buffer = buffers.get(i) if kind else info.get_buffer()
            count[0] += 1
            if count[0] % 10 == 0 and count[0] > 100:  # the first ones say what this is
                buffer.get_memory(buffer.n_memory() - 1)  # the payload
                size = buffer.get_size()
                buffer.fill(size // 2, bytes([count[0] & 0xFF]) * (size // 4))
        return Gst.PadProbeReturn.OK


def serve(port, factories, auth=None):
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    mounts = server.get_mount_points()
    for path, factory in factories.items():
        if auth:
            may = Gst.Structure.new_empty("viewer")
            may.set_value("media.factory.access", True)
            may.set_value("media.factory.construct", True)
            factory.add_role_from_structure(may)
        mounts.add_factory(path, factory)
    if auth:
        server.set_auth(auth)
    if not server.attach(None):
        sys.exit("cannot listen")
    return server


def main():
    auth = GstRtspServer.RTSPAuth()
    viewer = GstRtspServer.RTSPToken()
    viewer.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic("viewer", "s3cret:x"), viewer)
    servers = [
        serve(sys.argv[1] if len(sys.argv) > 1 else "0", {
            "/h264": Factory(frames(H264)),
            "/mjpeg": Factory(frames(JPEG)),
            "/fast": Factory(frames(H264, 320, 240, 250), rate=250, sizes=((320, 240),)),
            "/udp": Factory(frames(H264), protocols=UDP),
            "/resize": Factory(frames(JPEG, 320, 240), sizes=((320, 240), (640, 480))),
            "/short": Factory(frames(H264), frames=50),
            "/damaged": Factory(frames(H264), spoil=True),
        }),
        serve("0", {"/h264": Factory(frames(H264))}, auth),
    ]
    print(*(s.get_bound_port() for s in servers), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


main()
