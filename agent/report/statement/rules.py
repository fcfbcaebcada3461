"""The rules every number of a report follows, in the order a reader asks for them. Text only."""

from typing import Final

RULES: Final = (
    ("Samples", "Packets are counted in intervals. What this host did not send is not lost; an interval in which it "
     "was in trouble counts as not measured."),
    ("Bounds", "“Best” is the value if all that was not measured had been good, “worst” if bad."),
    ("Verdict", "Met if the worst case meets the target; breached if even the best case does not. In between the "
     "measured value decides, marked “estimated”, if as much was measured as the contract asks for; else the result is "
     "inconclusive. A value equal to its target meets it."),
    ("Margin", "Distance from the target: + is on the good side, − beyond it. Of shares in percentage points."),
    ("Measured time", "Time measured divided by time that counts, rounded down: never 100 % unless all was measured."),
    ("Excluded time", "Only entries that somebody has agreed to take time out, and only as the contract allows."),
    ("Rounding", "Comparisons are exact. Printed numbers have digits enough to tell them from the target; "
     "availability and rates are rounded down, loss is rounded up."),
    ("Two clocks", "The contract's clock runs between the two moments the contract names, less the pauses it accepts. "
     "The measured clock runs from the first to the last interval that was down."),
    ("Drawing", "Percentiles by nearest rank (RFC 2330 11.3) of all packets of a bucket of time, from histograms that "
     "merge exactly and know a delay to 0.8 %. An outage too short to see is drawn wider than it was."),
)  # fmt: skip
