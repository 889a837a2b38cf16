-- KEYS: lock, fence, done and, if they are asked for, failures. Reads only.
local function get(key)
  return redis.call('GET', key) or ''
end
local seen = {get(KEYS[1]), redis.call('PTTL', KEYS[1]), get(KEYS[2]), get(KEYS[3]), redis.call('PTTL', KEYS[3])}
seen[6] = KEYS[4] and get(KEYS[4])
return seen
