-- A node that has just started may have lost what somebody counts on: a lock, or a vote for a candidate. Returns how long (ms)
-- until it has been up for as long as it must be (0: it has, or its process is known), and the id of its process. Its uptime
-- counts whole seconds, which begin with the seconds of its clock. One whose clock was set back by more than that has a negative
-- uptime; it settles for who has seen it for long enough.
local function settles_in(info, settle, known)
  local up = math.max(tonumber(string.match(info, 'uptime_in_seconds:(-?%d+)')), 0)
  local left, run_id = tonumber(settle) - 1000 * up, string.match(info, 'run_id:(%w+)')
  if left <= 0 or run_id == known then
    return 0, run_id
  end
  return 1000 * math.ceil(left / 1000) - math.floor(redis.call('TIME')[2] / 1000), run_id
end
