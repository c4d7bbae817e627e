#!/bin/sh
# bundle.sh ENTRY FOLDER: a part as one file, with the data it reads beside itself. Worker threads start the same file again.
set -eu
entry=$1
folder=$2
mkdir -p "$folder"
node_modules/.bin/esbuild "$entry/main.ts" --bundle --platform=node --target=node24 --format=esm --outfile="$folder/main.mjs" \
  --minify-syntax --minify-whitespace --sourcemap=linked --log-level=warning --main-fields=module,main \
  --external:@node-rs/crc32 --alias:@platformatic/wasm-utils=@platformatic/wasm-utils/bundled \
  '--banner:js=import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);'
cp shared/rules/seed-release.json "$folder/"
