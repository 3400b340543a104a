"""The regression gate, `bench check`: a profile's methods against a committed baseline. docs/gate.md says how it decides.

judgement   the statistics, pure arithmetic: values of a few training seeds against a baseline of many
anchors     what may not move at all: committed snapshots, sampled, scored and trained a few steps further
baselines   the file of raw values, and what it must agree with
plans       a profile -> what is trained, under which conditions, and where its files lie
work        the training runs, a process each
step_ratio  speed as a ratio to a plain training step of the same network
checking    a check;  updating  a new baseline;  forms  what was found, as text, markdown, JUnit XML and JSON
"""
