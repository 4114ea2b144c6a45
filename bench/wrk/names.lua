-- SPDX-License-Identifier: Apache-2.0
-- Asks for many hosts in turn, h00000.SUFFIX and so on: wrk -s names.lua URL -- COUNT SUFFIX
-- The turn is not that of the numbers: neighbours would share cache lines.
local requests, turn = {}, 0

function init(args)
   local count, suffix = tonumber(args[1]) or 1, args[2] or "bench.test"
   for i = 0, count - 1 do
      wrk.headers["Host"] = string.format("h%05d.%s", i * 7919 % count, suffix)
      requests[i] = wrk.format("GET")
   end
end

function request()
   turn = (turn + 1) % (#requests + 1)
   return requests[turn]
end
