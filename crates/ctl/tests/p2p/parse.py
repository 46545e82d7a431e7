"""Reads the summary of NIXL's two-node script from standard input, as its users' scripts do, and prints JSON."""

import json
import re
import sys

ROW = re.compile(
    r"^\s*([\d.]+)\s*(B|KB|MB|GB|TB)\s*\|\s*([\d.]+)\s*GB/s\s*\|"
    r"\s*([\d.]+)\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)\s*$"
)

rows = []
for line in sys.stdin.read().split("RESULTS SUMMARY", 1)[1].splitlines():
    match = ROW.match(line)
    if match:
        value, unit, *figures = match.groups()
        size = float(value) * 1024 ** ["B", "KB", "MB", "GB", "TB"].index(unit)
        rows.append([size, *map(float, figures)])
json.dump(rows, sys.stdout)
