-- Returns how long (ms) until a lock that is gone may be set again; 0: now. A candidate may still count on a vote from before the
-- server's start. There is none if this node's last vote was for who asks, and would last still (ms since 1970 by this node's clock,
-- or empty).
local function restores_in(settle, known, lasts_until)
  local time = redis.call('TIME')
  if lasts_until ~= '' and 1000 * time[1] + math.floor(time[2] / 1000) < tonumber(lasts_until) then
    return 0
  end
  return settles_in(redis.call('INFO', 'server'), settle, known)
end
