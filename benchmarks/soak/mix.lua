-- Draws requests for wrk: `wrk -s mix.lua URL -- SEED PATHS`, PATHS being a file of paths that exist.
-- Shares are of a thousand. What is asked once and never again has a number that nobody had before.
-- No HEAD: wrk would wait for a body that never comes.

local hot, seed, count = {}, 0, 0

function init(arguments)
  seed = tonumber(arguments[1])
  math.randomseed(seed)
  for path in io.lines(arguments[2]) do
    hot[#hot + 1] = path
  end
end

local json = {["Accept"] = "application/vnd.pypi.simple.v1+json", ["Accept-Encoding"] = "gzip"}
local html = {["Accept"] = "text/html"}
local odd = {["Accept"] = "text/html;q=0.1, application/vnd.pypi.simple.v1+json;q=0.4, */*;q=0.01"}
local known = {["Accept"] = "text/html", ["If-None-Match"] = "*"}
local part = {["Range"] = "bytes=10-99"}

local function fresh()
  count = count + 1
  return string.format("%d-%d", seed, count)
end

-- wheelkeep remembers 50,000 projects: of as many, memory would still fill at the end. Of so few, each
-- worker has met all before the last third begins.
local function some(kind, most)
  return string.format("/simple/%s-soak-%d/", kind, math.random(most))
end

function request()
  local draw = math.random(1000)
  local path = hot[math.random(#hot)]
  if draw <= 700 then return wrk.format("GET", path, json) end
  if draw <= 780 then return wrk.format("GET", path, html) end
  if draw <= 820 then return wrk.format("GET", path, odd) end
  if draw <= 880 then return wrk.format("GET", path .. "?never-twice=" .. fresh(), json) end
  if draw <= 920 then return wrk.format("GET", path, part) end
  if draw <= 940 then return wrk.format("GET", path, known) end
  if draw <= 960 then return wrk.format("GET", "/nothing/" .. fresh(), json) end
  if draw <= 975 then
    local none = string.format("/files/settled-001/%064d/none-%s.tar.gz", math.random(1e9), fresh())
    return wrk.format("GET", none, json)
  end
  if draw <= 990 then return wrk.format("GET", some("absent", 600), json) end
  return wrk.format("GET", some("cold", 300), json)
end
