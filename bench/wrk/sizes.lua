-- SPDX-License-Identifier: Apache-2.0
-- Asks for the given paths in turn: wrk -s sizes.lua URL -- /64        (one size)
--                                  wrk -s sizes.lua URL -- /64 /16k    (mixed sizes)
local requests, turn = {}, 0

function init(args)
   for i, path in ipairs(args) do
      requests[i] = wrk.format("GET", path)
   end
   if #requests == 0 then
      error("sizes.lua: paths are needed behind --")
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end
