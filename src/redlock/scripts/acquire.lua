-- KEYS: lock, fence, done, failures, runs.
-- ARGV: value, ttl (ms), token, startup grace (ms), the channel whose listeners to notify (or empty), what proves that a lock was
-- released (or empty), how often the command may fail (empty: don't check the period; 0: any number), the id of a server
-- process that the candidate has known for the startup grace (or empty), the lock's channel, the run's record but for its
-- start and the last brace.
-- Of one slot of several also KEYS[6], the name of the resource, and ARGV[11], what follows in a message.
-- Tokens stay strings: Lua prints large numbers as floats.
local info = redis.call('INFO', 'server')
-- Before Redis 5, what a script writes after it has asked for the time is not replicated or saved as written.
if tonumber(string.match(info, 'redis_version:(%d+)') or 5) < 5 then
  return redis.error_reply('TOOOLD ' .. string.match(info, 'redis_version:([%w.]+)'))
end
local run_id = string.match(info, 'run_id:(%w+)')
local fence = redis.call('GET', KEYS[2]) or '0'
local failed, failed_left = '0', -2
if ARGV[7] ~= '' then
  local done = redis.call('GET', KEYS[3])
  if done then
    return {'done', run_id, fence, done, redis.call('PTTL', KEYS[3])}
  end
  failed, failed_left = redis.call('GET', KEYS[4]) or failed, redis.call('PTTL', KEYS[4])
end
local value = redis.call('GET', KEYS[1])
-- Under the resource's name is the value of someone who leads one of the slots, so that those with another number of slots
-- stay away, and we from them. The number follows the id.
local name = KEYS[6] and redis.call('GET', KEYS[6])
local is_shared = name and string.find(name, string.match(ARGV[1], '"slots":%d+,'), 1, true)
-- A value contains the hash of what its leader alone can show. In the holder's name, quotes are escaped. That it was released says
-- nothing of the other slots of its resource, which those with another number of slots must keep away from as well.
local function is_released(value)
  return ARGV[6] ~= '' and string.match(value, '"slots":%d+,') == string.match(ARGV[1], '"slots":%d+,')
    and string.find(value, '"release":"' .. redis.sha1hex(ARGV[6]) .. '"', 1, true)
end
if name and not is_shared then
  return {'held', run_id, fence, name, redis.call('PTTL', KEYS[6]), 0}
end
if value and value ~= ARGV[1] and not is_released(value) then
  -- pcall: where the user may not count or publish, nobody listens.
  local listeners = redis.pcall('PUBSUB', 'NUMSUB', ARGV[9])
  return {'held', run_id, fence, value, redis.call('PTTL', KEYS[1]), listeners[2] or 0}
end
if ARGV[7] ~= '' and ARGV[7] ~= '0' and tonumber(string.match(failed, '^%d+')) >= tonumber(ARGV[7]) then
  return {'spent', run_id, fence, failed, failed_left}
end
if tonumber(ARGV[3]) <= tonumber(fence) then
  return {'stale', run_id, fence}
end
local left = settles_in(info, ARGV[4], ARGV[8])
if left > 0 then
  return {'young', run_id, fence, left}
end
local time = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', 2592000)
if KEYS[6] and not (is_shared and redis.call('PTTL', KEYS[6]) > tonumber(ARGV[2])) then
  redis.call('SET', KEYS[6], ARGV[1], 'PX', ARGV[2])
end
if ARGV[5] ~= '' then
  local message = 'acquired ' .. ARGV[6] .. (ARGV[11] or '')
  redis.pcall('PUBLISH', ARGV[5], message)
  if ARGV[5] ~= ARGV[9] then
    redis.pcall('PUBLISH', ARGV[9] .. ':watchers', message)
  end
end
local now = 1000 * time[1] + math.floor(time[2] / 1000)
-- A hundred runs are kept, by token, for 30 days after the last use. pcall: nobody leads less where that is not permitted.
redis.pcall('ZADD', KEYS[5], ARGV[3], ARGV[10] .. ',"start":' .. now .. '}')
redis.pcall('ZREMRANGEBYRANK', KEYS[5], 0, -101)
redis.pcall('EXPIRE', KEYS[5], 2592000)
return {'granted', run_id, ARGV[3], failed, failed_left, now}
