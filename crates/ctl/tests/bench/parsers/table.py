"""Reads the output of nccl-tests with the regular expressions that dashboards use, and prints it as JSON."""
import json
import re
import sys

NUMBER = r"([\d.]+(?:e[+-]\d+)?)"
TIMES = rf"\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}\s+(\d+|N/A)"
ROW = re.compile(rf"^\s+(\d+)\s+(\d+)\s+(\w+)\s+(\w+)\s+(-?\d+){TIMES}{TIMES}\s*$")
RANK = re.compile(r"^#\s+Rank\s+(\d+)\s+Group\s+(\d+)\s+Pid\s+(\d+)\s+on\s+(\S+)\s+device\s+(\d+)\s+\[([^\]]+)\]\s+(.*)$")
AVERAGE = re.compile(r"^# Avg bus bandwidth\s*:\s*([\d.e+-]+)")
WRONG = re.compile(r"^# Out of bounds values\s*:\s*(\d+)\s+(OK|FAILED)")
VERSION = re.compile(r"nccl-tests version ([\d.]+)")
TEST = re.compile(r"^# Collective test (starting|concluded): (\w+)$")

found = {"rows": [], "ranks": [], "tests": []}
for line in sys.stdin:
    line = line.rstrip("\n")
    if match := ROW.match(line):
        found["rows"].append(match.groups())
    elif match := RANK.match(line):
        found["ranks"].append(match.groups())
    elif match := AVERAGE.match(line):
        found["average"] = float(match[1])
    elif match := WRONG.match(line):
        found["wrong"] = [int(match[1]), match[2]]
    elif match := TEST.match(line):
        found["tests"].append(match[2])
    elif match := VERSION.search(line):
        found["version"] = match[1]
    elif not line.startswith("#") and line:
        sys.exit(f"what is this: {line!r}")
print(json.dumps(found))
