-- KEYS: runs, last success. ARGV: the first and the last run to return, by rank from the newest. Reads only.
-- Returns the time (ms since 1970), the last success, how many of all runs had which result, and the runs.
local time = redis.call('TIME')
local now = 1000 * time[1] + math.floor(time[2] / 1000)
local all = redis.call('ZREVRANGE', KEYS[1], 0, -1)
local counts = {}
for _, run in ipairs(all) do
  -- In the holder's name, quotes are escaped.
  local result = string.match(run, '"end":"([%a-]+)') or 'none'
  counts[result] = (counts[result] or 0) + 1
end
local words = {}
for result, count in pairs(counts) do
  table.insert(words, result .. ' ' .. count)
end
table.sort(words)
local reply = {now, redis.call('GET', KEYS[2]) or '', table.concat(words, ',')}
for rank = ARGV[1] + 1, math.min(ARGV[2] + 1, #all) do
  table.insert(reply, all[rank])
end
return reply
