/** Fetches Debian packages without installing them and unpacks them into a cache; no privileges are needed. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Runs apt tools on the system's package lists, or on private ones when the system has none that can be read. */
class Apt {
  #options = [];
  #root;
  #log;

  constructor(root, log) {
    this.#root = root;
    this.#log = log;
  }

  run(tool, args, options = {}) {
    return execFileSync(tool, [...this.#options, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options });
  }

  /** Answers `query`; fetches private package lists and asks again when the system's lists do not know the package. */
  ask(query) {
    try {
      return query();
    } catch (error) {
      if (this.#options.length > 0) throw error;
      this.#log('The package lists of this system do not answer; fetching private ones.');
      const directory = (name) => {
        const path = join(this.#root, 'apt', name);
        mkdirSync(join(path, 'partial'), { recursive: true });
        return path;
      };
      this.#options = [
        '-o',
        `Dir::State::lists=${directory('lists')}`,
        '-o',
        `Dir::Cache=${directory('cache')}`,
        '-o',
        `Dir::Cache::archives=${directory('archives')}`,
        '-o',
        'Debug::NoLocking=1',
        '-o',
        'APT::Sandbox::User=',
      ];
      this.run('apt-get', ['update', '-q']);
      return query();
    }
  }
}

/** Name, file name and SHA-256 of the newest versions of packages, as apt prints them. */
function locate(apt, names) {
  return apt.ask(() => {
    const text = apt.run('apt-get', ['download', '--print-uris', '-q', ...names]);
    const entries = [...text.matchAll(/^'[^']*' (([^_\s]+)_\S+) \d+ SHA256:([0-9a-f]{64})/gm)].map((match) => ({
      name: match[2],
      file: match[1],
      sha256: match[3],
    }));
    const missing = names.filter((name) => !entries.some((entry) => entry.name === name));
    if (missing.length > 0) throw new Error(`apt-get has no package ${missing.join(', ')}; add a Debian 12 source.`);
    return entries;
  });
}

function sha256(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** A program's package with the libraries that it needs, directly or not. */
export function withLibraries(root, name, log) {
  const apt = new Apt(resolve(root), log);
  const flags = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((kind) => `--no-${kind}`);
  const text = apt.ask(() => apt.run('apt-cache', ['depends', '--recurse', ...flags, name]));
  const names = new Set(text.split('\n').filter((line) => /^(lib\S+|zlib1g)$/.test(line)));
  // Virtual packages have no file of their own.
  const real = apt
    .run('apt-cache', ['policy', ...names])
    .split(/\n(?=\S)/)
    .filter((block) => /Candidate: [^(]/.test(block));
  return [name, ...real.map((block) => block.slice(0, block.indexOf(':')))].filter((entry) => !/-(dev|perl)$/.test(entry));
}

/** The versioned kernel package that a meta package such as linux-image-cloud-amd64 depends on. */
function resolveMeta(apt, name) {
  if (!/^linux-image-(\d+\.\d+-)?(cloud-)?amd64$/.test(name)) return name;
  const text = apt.ask(() => apt.run('apt-cache', ['depends', name]));
  const found = text.match(/Depends: (linux-image-\S+)/);
  if (!found) throw new Error(`${name} depends on no kernel package; see \`apt-cache depends ${name}\`.`);
  return found[1];
}

/** A package that an earlier run left in the cache, for machines without a network. */
function cached(root, name) {
  const stem = name.replace(/-amd64$/, '');
  const directory = readdirSync(join(root, 'unpacked'))
    .filter((entry) =>
      stem.startsWith('linux-image')
        ? entry.startsWith('linux-image-') && entry.includes('-cloud-') === stem.includes('-cloud')
        : entry.startsWith(stem),
    )
    .sort()
    .pop();
  return directory && join(root, 'unpacked', directory);
}

function unpack(root, entry, apt, log) {
  const deb = join(root, 'debs', entry.file);
  const directory = join(root, 'unpacked', entry.file.replace(/\.deb$/, ''));
  if (existsSync(directory)) return directory;
  if (!existsSync(deb) || sha256(deb) !== entry.sha256) {
    log(`Downloading ${entry.name}`);
    apt.run('apt-get', ['download', '-q', entry.name], { cwd: join(root, 'debs') });
    if (sha256(deb) !== entry.sha256) throw new Error(`${deb} has another checksum than its package list says; delete it and try again.`);
  }
  const partial = `${directory}.partial`;
  rmSync(partial, { recursive: true, force: true });
  execFileSync('dpkg-deb', ['-x', deb, partial]);
  renameSync(partial, directory);
  return directory;
}

/**
 * Downloads (when their checksums are not in the cache yet) and unpacks packages.
 * @returns the directories that hold the unpacked files, in the order of `names`.
 */
export function fetchPackages(root, names, log) {
  root = resolve(root);
  mkdirSync(join(root, 'debs'), { recursive: true });
  mkdirSync(join(root, 'unpacked'), { recursive: true });
  const apt = new Apt(root, log);
  let resolved;
  let entries;
  try {
    resolved = names.map((name) => resolveMeta(apt, name));
    entries = locate(apt, resolved);
  } catch (error) {
    return names.map((name) => {
      const left = cached(root, name);
      if (!left) throw error;
      log(`apt-get does not answer; using ${left}.`);
      return left;
    });
  }
  return resolved.map((name) =>
    unpack(
      root,
      entries.find((entry) => entry.name === name),
      apt,
      log,
    ),
  );
}
