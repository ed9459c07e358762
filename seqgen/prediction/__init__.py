"""Hands in other people's pictures: from images, a video, a camera or a data set to joints, frame by frame.

    localiser = load_localiser()
    loaded = load_estimator(Path("CKPT"))
    for found in predict_stream(loaded, (Frame(str(n), rgb) for n, rgb in enumerate(camera)), localiser): ...     # `camera` yields (height, width, 3) arrays of uint8

    frames.py    what pictures come from: images, clips of data sets        video.py      videos, read and written
    boxes.py     where to look: given, found, followed                      localise.py   finds the hand in a picture
    predict.py   the stream, one frame at a time                            overlay.py    what it looks like
    run.py       a whole input into a folder: `seqgen predict`
"""
