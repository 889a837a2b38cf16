-- KEYS: lock, fence.
-- ARGV: value, token, token + 1, how many listeners not to count (empty: notify nobody), the message's first word, what
-- follows the number of listeners and, to keep the lock, its new value and for how long (ms).
-- The channel has the lock's name.
local fence = redis.call('GET', KEYS[2]) or '0'
if redis.call('GET', KEYS[1]) ~= ARGV[1] or tonumber(fence) > tonumber(ARGV[2]) then
  return {'kept', fence}
end
if ARGV[7] then
  redis.call('SET', KEYS[1], ARGV[7], 'PX', ARGV[8])
else
  redis.call('DEL', KEYS[1])
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', 2592000)
if ARGV[4] ~= '' then
  -- pcall: where the user may not count or publish, nobody listens.
  local listeners = redis.pcall('PUBSUB', 'NUMSUB', KEYS[1])
  redis.pcall('PUBLISH', KEYS[1], ARGV[5] .. ' ' .. (listeners[2] or 0) - ARGV[4] .. ' ' .. ARGV[6])
end
return {'released', ARGV[3]}
