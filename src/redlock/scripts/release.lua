-- KEYS: lock, fence.
-- ARGV: value, token, token + 1, how many listeners not to count (empty: notify nobody), the message's first word, what
-- follows the number of listeners and, to keep the lock, its new value and for how long (ms).
-- The channel has the lock's name.
local fence = redis.call('GET', KEYS[2]) or '0'
local value = redis.call('GET', KEYS[1])
-- To keep a lock that the node has lost, it is restored, as by an extension.
local is_ours = value == ARGV[1] or not value and ARGV[7]
if not is_ours or tonumber(fence) > tonumber(ARGV[2]) then
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
