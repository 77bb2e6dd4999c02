"""The peer of people who know Python: OpenCV decodes, resizes and pads, and its dnn module runs the model.

Detections are neither decoded nor published, which is less than gnomon does.

    python3 opencv_dnn.py JOB.json

The job is written by third_party/benchtable (see job.go). Prints one JSON object with frames, seconds and fps.
"""
import json
import sys
import time

import cv2
import numpy as np

WARM_UP = 10  # frames that are not counted


def frames_of(path):
    """The frames of a video, again and again."""
    while True:
        video = cv2.VideoCapture(path)
        count = 0
        while True:
            ok, frame = video.read()
            if not ok:
                break
            count += 1
            yield frame
        video.release()
        if count == 0:
            raise RuntimeError("no frame can be read from " + path)


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        job = json.load(f)
    net = cv2.dnn.readNetFromONNX(job["model"])
    names = net.getUnconnectedOutLayersNames()
    width, height = job["width"], job["height"]
    x, y, w, h = job["pad_x"], job["pad_y"], job["new_w"], job["new_h"]
    # In the order of the picture, which is blue, green, red unless swapRB turns it.
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = job["pad"][::-1] if job["rgb"] else job["pad"]
    mean = [m / job["scale"] for m in job["mean"]]
    std = np.array(job["std"], np.float32).reshape(1, 3, 1, 1)
    plain = bool((std == 1).all())
    frames, start, first = -WARM_UP, 0.0, 0.0
    for frame in frames_of(job["video"]):
        canvas[y:y + h, x:x + w] = cv2.resize(frame, (w, h), interpolation=cv2.INTER_LINEAR)
        blob = cv2.dnn.blobFromImage(canvas, job["scale"], mean=mean, swapRB=job["rgb"])
        if not plain:
            blob /= std
        net.setInput(blob)
        out = net.forward(names)
        if frames == -WARM_UP:
            first = float(np.mean(out[0]))
        frames += 1
        if frames == 0:
            start = time.monotonic()
        if frames > 0 and time.monotonic() - start >= job["seconds"]:
            break
    seconds = time.monotonic() - start
    print(json.dumps({"frames": frames, "seconds": seconds, "fps": frames / seconds, "first_mean": first, "version": cv2.__version__}))


if __name__ == "__main__":
    try:
        main()
    except Exception as e:  # the last line on stderr is the reason that the table shows
        sys.exit("opencv_dnn: " + (" ".join(str(e).split()) or type(e).__name__))
