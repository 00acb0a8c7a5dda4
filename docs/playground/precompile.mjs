// Adds bytecode of the browser's Python to an archive of packages: `node precompile.mjs PYODIDE ZIP`.
// It saves two of the seconds that a visitor waits.

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [pyodideFile, archive] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(pyodideFile));
const pyodide = await loadPyodide();
pyodide.unpackArchive(new Uint8Array(readFileSync(archive)), "zip", { extractDir: "/packages" });
pyodide.runPython(`
import compileall, shutil
from py_compile import PycInvalidationMode

# no look at times, which an archive does not keep exactly
mode = PycInvalidationMode.UNCHECKED_HASH
compileall.compile_dir("/packages", quiet=1, invalidation_mode=mode)
shutil.make_archive("/packed", "zip", "/packages")
`);
writeFileSync(archive, pyodide.FS.readFile("/packed.zip"));
