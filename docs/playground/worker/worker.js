// The worker: starts Python and homespec in it, and answers questions one after the other.

import { loadPyodide } from "./pyodide/pyodide.mjs";

const ROOT = "/playground";

const here = (name) => new URL(name, import.meta.url).href;

async function fetched(name) {
  const response = await fetch(here(name));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response.arrayBuffer();
}

async function start() {
  const archives = [fetched("packages.zip"), fetched("homespec.zip")];
  const pyodide = await loadPyodide({ indexURL: here("pyodide/"), packages: [] });
  const [packages, homespec] = await Promise.all(archives);
  pyodide.unpackArchive(packages, "zip", { extractDir: `${ROOT}/packages` });
  pyodide.unpackArchive(homespec, "zip", { extractDir: ROOT });
  // Specs of the editor are beside the folders of our own, so that they can extend these.
  return pyodide.runPython(`
import os, sys
sys.path.insert(0, "${ROOT}/packages")
os.makedirs("${ROOT}/project/specs/playground")
os.chdir("${ROOT}/project/specs/playground")
from session import answerer
answerer()
`);
}

const starting = start();

onmessage = async ({ data: { id, question } }) => {
  try {
    const answer = await starting;
    postMessage({ id, answer: JSON.parse(answer(JSON.stringify(question))) });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
};
