"""An RTSP camera for the soak: a moving ball in H.264, by GStreamer's RTSP server.

  rtsp.py PORT FPS       serves rtsp://127.0.0.1:PORT/camera and prints "ready" when it listens
"""
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_shared(True)
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=" + sys.argv[2] + "/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast bitrate=300 key-int-max=" + sys.argv[2] + " "
    "! rtph264pay config-interval=1 name=pay0 pt=96 )"
)
server.get_mount_points().add_factory("/camera", factory)
if server.attach(None) == 0:
    sys.exit("port " + sys.argv[1] + " is taken")
print("ready", flush=True)
GLib.MainLoop().run()
