"""What a step asks of its training subprocess, and what it hears back.

The job is a JSON file; the answers are events, one JSON object a line, on the subprocess's standard output:

    waiting    for      somebody else computes on the devices
    started    device, hardware, parameters, train_images, epochs, steps_per_epoch, first_epoch; once for each
               stage where a training by ultralytics has several, with stage and stages
    progress   epoch, epochs, step, steps, loss {...}, eta_s      every few seconds
    epoch      epoch, step, at_ms, metrics {...}                  after each epoch
    checkpoint epoch, path, last                                  a file that the training can go on from;
               stage_over where a stage ends with it: it is brought to safety whatever that costs
    broken     epoch, step, part, value                           a part of the loss is no number: the training ends
    nondeterministic  operation     something that another training with the same seed may not repeat to the bit
    finished   weights, review {...}, files {name: path}, seconds

What is the same for every kind (learning rate, gradient norm, images per second, the GPU) `meter.py` adds on the way.
A subprocess that fails says why on its standard error and exits with 1.
The subprocess knows neither the lake nor MLflow, and holds no secrets: it gets local files and leaves local files.
"""

from __future__ import annotations

from tasks.kind import Event as Event
from tasks.kind import Job as Job
