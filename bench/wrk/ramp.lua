-- SPDX-License-Identifier: Apache-2.0
-- Opens many connections step by step: wrk -t 5 -c 10000 -s ramp.lua URL -- 0.5
-- Each thread opens its share that many seconds after the one before: all at once they would fill the queue of connections
-- that wait to be accepted, and the kernel resets those that it has no place for.
function init(args)
   local pause = tonumber(args[1] or "0.5")
   if not pause then
      error("ramp.lua: seconds are needed behind --")
   end
   os.execute("sleep " .. pause)
end
