"""Finds whatever of one split also stands in another, however it got there.

    the same by name or hash    a donor's or other group, a recording, a frame         `exact`
    the same clip               encoded again, resized, brightened, trimmed            `clip_matching`
    a part of the clip          its sides cut off, enlarged again or not               `crop_matching`
    nearly the same frame       of stills, of short clips, of clips where nothing moves `frame_matching`

Each of the last three finds its suspects without comparing all pairs, then checks these closely (`pair_check`,
`frame_matching`), on pictures freed of light and background (`thumbnails`): two clips under one microscope share its
dirt, and that is not a leak. A recording's appearance is kept as its signature (`signatures`), and the outcome of a
close check is kept, too. A suspect that cannot be checked is not ruled out: it counts as found (`inconclusive`) until
it can be.

What is found refuses a training. A finding by name or hash always does. One of the other kinds does, too, until a
named person clears the pair of recordings (`clears`), since the thresholds below come from few clips. Pairs that the
close check itself found to be different are called `ruled_out`: no person decided that.

What the cost grows with: an audit of the same rows and clears is filed, and only read. Any other audit
- reads the signatures of all its recordings and searches all of them again, however little is new: the cost grows with
  the number of frames, and with its square where very many look alike (stills of one microscope);
- decodes the recordings that are new, once each, for their signatures;
- computes where two recordings overlap for those pairs with similar features that are new;
- checks those pairs of suspects closely that are new, and decodes both clips again for each such pair and part;
- compares the pictures of all suspected frames again; each is decoded once, and kept as 8 kB.

The thresholds were measured on three real clips (MIaMIA-SVDS, 698 x 528, 30 Hz, 19 to 82 frames) and five synthetic
ones (480 x 360, 25 Hz, 120 frames), with eleven copies of each: all 88 are found, and no two different clips are taken
for one. Nor are they where real and synthetic clips were laid over the same dirt, nine times as strong as their cells:

- what moves, of the same moment: encoded again at crf 35, halved, or a fifth cut off at both ends, it correlates at
  0.81 or more and in nine frames of ten differs in at most 24 bits of 128; with the first half cut away at 0.62 and in
  42 bits, at crf 42 at 0.32 and in 50 (their better frames tell). Frames of different clips differ in 36 bits or more
  and correlate at 0.24 or less. So suspects have 28 bits or fewer once, 32 twice or 36 three times, and a clip is the
  same with three frames at 0.5 and one offset, or one at 0.75;
- whether anything moves: 5.3 grey levels or more with one or two heads in the field, even at crf 40; 3.9 or less in a
  still picture with noise of 8 grey levels, or under strong dirt and a lamp that flickers;
- parts: with 10 to 30 % of a side cut off, 37 or more local features agree on where; trimmed as well, under a
  drifting stage, 27. Different clips reach 23 (cells look alike), and the close check rules them out;
- whole frames: encoded again at JPEG quality 50 or 90, halved or brightened, a frame differs from itself in up to 10 of
  64 bits and correlates at 0.98 or more (quality 20: 24 bits, 0.93). Its neighbour in time (33 ms) correlates at 0.86
  to 0.91. Different clips differ in 18 bits or more and correlate at 0.12 or less; over one background at 0.67 or less,
  and at 0.07 or less once it is subtracted. Where nothing moves, so that nothing remains, only what copies show counts:
  0.93 or more, and for frames 10 bits or fewer. Two clips of few heads that do not move, under one dirt that is much
  stronger than they, reach that, too, and are taken for one: a person can clear them.

The audit does not find a copy that was turned or mirrored, one of which more than 40 % of a side was cut off (it is not
looked for), or a cropped and trimmed one without any still structure by which to place it.
"""

from tasks.leakage.audit import audit
from tasks.leakage.clear import Clear
from tasks.leakage.code import audit_code
from tasks.leakage.exact import COLUMNS
from tasks.leakage.filing import audited, filed, has_passed
from tasks.leakage.findings import Audit, ClearedFinding, Finding, Side
from tasks.leakage.refusal import require_passed

__all__ = [
    "COLUMNS",
    "Audit",
    "Clear",
    "ClearedFinding",
    "Finding",
    "Side",
    "audit",
    "audit_code",
    "audited",
    "filed",
    "has_passed",
    "require_passed",
]
