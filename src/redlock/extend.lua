-- KEYS: lock, fence. ARGV: value, ttl (ms), token.
local fence = redis.call('GET', KEYS[2]) or '0'
local value = redis.call('GET', KEYS[1])
local behind = tonumber(fence) > tonumber(ARGV[3])
if value and value ~= ARGV[1] then
  return {'lost', fence, value}
end
if not value and behind then
  return {'lost', fence}
end
if not behind then
  fence = ARGV[3]
end
redis.call('SET', KEYS[2], fence, 'EX', 2592000)
if value then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {'extended', fence}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'healed', fence}
