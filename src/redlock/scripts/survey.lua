-- KEYS: the name of the resource, then lock and fence of each of its slots. ARGV: the locks' channel. Reads only.
local function get(key)
  return redis.call('GET', key) or ''
end
-- pcall: where the user may not count, nobody listens.
local listeners = redis.pcall('PUBSUB', 'NUMSUB', ARGV[1])
local seen = {listeners[2] or 0, get(KEYS[1]), redis.call('PTTL', KEYS[1])}
for slot = 2, #KEYS, 2 do
  seen[#seen + 1] = get(KEYS[slot])
  seen[#seen + 1] = redis.call('PTTL', KEYS[slot])
  seen[#seen + 1] = get(KEYS[slot + 1])
end
return seen
