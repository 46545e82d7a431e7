# Peak bus bandwidth and wrong elements of an nccl-tests table: what job scripts do with it.
# Prints: rows, largest size, peak busbw out of place, peak busbw in place, wrong elements.
/^#/ || NF < 13 { next }
{
  rows++
  if ($1 + 0 > size) size = $1 + 0
  if ($8 + 0 > apart) apart = $8 + 0
  if ($12 + 0 > inplace) inplace = $12 + 0
  if ($9 != "N/A") wrong += $9
  if ($13 != "N/A") wrong += $13
}
END { print rows, size, apart, inplace, wrong + 0 }
