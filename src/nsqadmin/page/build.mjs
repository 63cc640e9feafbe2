// Builds the page into a folder (default dist/), or with --check compares dist/ with a fresh build.
import { build } from 'esbuild';
import { cp, mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');

async function buildInto(folder) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await build({
    absWorkingDir: here,
    entryPoints: [
      { in: 'src/main.tsx', out: 'main' },
      { in: 'src/style/main.css', out: 'main' },
    ],
    outdir: folder,
    bundle: true,
    minify: true,
    format: 'iife',
    target: ['es2022'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    charset: 'utf8',
    legalComments: 'eof',
    logLevel: 'warning',
  });
  for (const name of ['index.html', 'favicon.svg']) {
    await cp(join(here, 'src', name), join(folder, name));
  }
}

async function filesOf(folder) {
  const files = new Map();
  for (const name of (await readdir(folder)).sort()) {
    files.set(name, await readFile(join(folder, name)));
  }
  return files;
}

async function check() {
  const folder = await mkdtemp(join(tmpdir(), 'nsqadmin-page-'));
  try {
    await buildInto(folder);
    const [fresh, committed] = [await filesOf(folder), await filesOf(dist)];
    const names = new Set([...fresh.keys(), ...committed.keys()]);
    const same = (name) => fresh.has(name) && committed.get(name)?.equals(fresh.get(name));
    const differing = [...names].filter((name) => !same(name));
    if (differing.length > 0) {
      throw new Error(`dist/ is not what src/ builds (${differing.join(', ')}): npm run build`);
    }
    console.log(`dist/ is what src/ builds: ${[...names].join(', ')}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (process.argv[2] === '--check') {
  await check();
} else {
  await buildInto(resolve(process.argv[2] ?? dist));
}
