-- SPDX-License-Identifier: Apache-2.0
-- Sends a body with each request: wrk -s upload.lua URL -- BYTES
local post

function init(args)
   post = wrk.format("POST", nil, nil, string.rep("x", tonumber(args[1]) or 65536))
end

function request()
   return post
end
