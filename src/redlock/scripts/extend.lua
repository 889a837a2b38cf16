-- KEYS: lock, fence, step-down, runs and, with a note, done or failures.
-- ARGV: value, ttl (ms), token, the run's token (or empty), its record but for its times and the last brace, its start (ms
-- since 1970 by this node's clock, or empty: about now), the startup grace (ms), the id of a server
-- process that the leader has known for that long (or empty), until when this node's last vote for the leader lasts (by the same
-- clock, or empty) and, with a note, its text and when it ends.
-- Of one slot of several instead KEYS[5], the name of the resource (see acquire.lua).
-- The leader whose value is under step-down is asked to step down. A note is true whoever holds the lock now, but
-- counts towards a quorum only while the lock is ours. A reply that counts, or will do so later, has the time (ms since 1970), in
-- how long (ms) the server will have been up for the startup grace (what it has may be older than its start), and the id of its
-- process.
local time = redis.call('TIME')
local now = 1000 * time[1] + math.floor(time[2] / 1000)
local fence = redis.call('GET', KEYS[2]) or '0'
local value = redis.call('GET', KEYS[1])
local behind = tonumber(fence) > tonumber(ARGV[3])
if ARGV[10] then
  -- However late a note comes, it ends with its period, and never replaces a newer one: a count, with which a note of failures
  -- begins, only grows, and a later success ends later.
  local left = ARGV[11] - now
  local old = tonumber(string.match(redis.call('GET', KEYS[5]) or '', '^%d+'))
  local count = tonumber(string.match(ARGV[10], '^%d+'))
  local newer = redis.call('PTTL', KEYS[5]) < left
  if count then
    newer = count > (old or 0)
  end
  if newer and left > 0 then
    redis.call('SET', KEYS[5], ARGV[10], 'PX', left)
  end
end
-- Puts the run on record as alive, also on a node that has lost its record.
local function record()
  if ARGV[4] ~= '' then
    local start = ARGV[6] ~= '' and ARGV[6] or now
    redis.pcall('ZREMRANGEBYSCORE', KEYS[4], ARGV[4], ARGV[4])
    redis.pcall('ZADD', KEYS[4], ARGV[4], ARGV[5] .. ',"start":' .. start .. ',"seen":' .. now .. '}')
    redis.pcall('ZREMRANGEBYRANK', KEYS[4], 0, -101)
    redis.pcall('EXPIRE', KEYS[4], 2592000)
  end
end
if value and value ~= ARGV[1] then
  return {'lost', fence, value}
end
if not value and behind then
  return {'lost', fence}
end
local settles, run_id = settles_in(redis.call('INFO', 'server'), ARGV[7], ARGV[8])
if not value and not restores(settles, ARGV[9]) then
  return {'young', fence, now, settles, run_id}
end
if KEYS[5] and not ARGV[10] then
  local name = redis.call('GET', KEYS[5])
  if name and not string.find(name, string.match(ARGV[1], '"slots":%d+,'), 1, true) then
    return {'lost', fence, name}
  end
  if redis.call('PTTL', KEYS[5]) < tonumber(ARGV[2]) then
    -- When memory is full, another's value does as well.
    redis.pcall('SET', KEYS[5], ARGV[1], 'PX', ARGV[2])
    redis.call('PEXPIRE', KEYS[5], ARGV[2])
  end
end
if behind or fence == ARGV[3] then
  -- Works when memory is full, unlike SET.
  redis.call('EXPIRE', KEYS[2], 2592000)
else
  fence = ARGV[3]
  redis.call('SET', KEYS[2], fence, 'EX', 2592000)
end
if value then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  record()
  return {'extended', fence, redis.call('GET', KEYS[3]) == ARGV[1] and '1' or '0', now, settles, run_id}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
record()
return {'healed', fence, now, settles, run_id}
