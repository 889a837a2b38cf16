-- KEYS: lock, fence, done. Reads only.
local function get(key)
  return redis.call('GET', key) or ''
end
return {get(KEYS[1]), redis.call('PTTL', KEYS[1]), get(KEYS[2]), get(KEYS[3]), redis.call('PTTL', KEYS[3])}
