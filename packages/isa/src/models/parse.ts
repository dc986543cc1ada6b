import type { CpuDescription, CpuIdentity, CpuidDynamicState, CpuidRegisters, CpuTopology } from './cpu-model.js';
import { cpuidLeaf, featureMsr } from './cpuid.js';
import { CpuModelError } from './errors.js';
import type { ModelRow } from './feature-rows.js';
import {
  amdOnlyFeatures,
  byNameOnly,
  type CpuFeature,
  featureNames,
  featureRequires,
  findFeature,
  implementedFeatures,
  intelOnlyFeatures,
} from './features.js';
import { modelAliases, modelRows } from './model-data.js';
import { nearestName } from './nearest.js';
import { assertNestable, defaultVendor, type Nesting, nestedFeatures, nestingOff, nestingOn, virtualizationFeatures } from './nesting.js';

const TSC_HZ = 1_000_000_000;
const DEFAULT_PHYSICAL_BITS = 40;
const rowByName = new Map(modelRows.map((row) => [row.name, row]));
const SPECIAL = ['max', 'host', 'base'] as const;

/** Lower before upper case of the same letters. Not `localeCompare`, which loads what it knows of all languages first. */
function compareNames(a: string, b: string): number {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()];
  return x === y ? Number(a < b) - Number(a > b) : x < y ? -1 : 1;
}

/** Names that `parseCpu` takes, aliases included, sorted. */
export const cpuModelNames: readonly string[] = [...new Set([...SPECIAL, ...Object.keys(modelAliases), ...rowByName.keys()])].sort(compareNames);

/** A parsed CPU: what it announces, and what a named model had to leave out because Nestvm lacks it. */
export class CpuModel implements CpuDescription {
  readonly name!: string;
  readonly vendorId!: string;
  readonly family!: number;
  readonly model!: number;
  readonly stepping!: number;
  readonly level!: number;
  readonly xlevel!: number;
  readonly modelId!: string;
  readonly features!: ReadonlySet<CpuFeature>;
  readonly physicalBits!: number;
  readonly topology!: CpuTopology;
  readonly tscHz!: number;

  constructor(
    description: CpuDescription,
    readonly missing: readonly CpuFeature[] = [],
  ) {
    Object.assign(this, description);
  }

  /** Whose manual applies where the two differ. */
  get vendor(): 'intel' | 'amd' {
    return vendorOf(this);
  }

  /** True when the feature (QEMU's name) is announced. */
  has(feature: string): boolean {
    return this.features.has(feature as CpuFeature);
  }

  /** The CPUID instruction on this CPU. */
  cpuid(leaf: number, subleaf: number, state: CpuidDynamicState): CpuidRegisters {
    return cpuidLeaf(this, leaf, subleaf, state);
  }

  /** Value of a capability MSR (IA32_ARCH_CAPABILITIES …) that the features make, 0 for other MSRs. */
  msr(index: number): bigint {
    return featureMsr(this, index);
  }

  /** `max` and `host` imitate no particular core. */
  get isEveryCore(): boolean {
    return this.name === 'max' || this.name === 'host';
  }

  /** What was left out, as a line for a warning. */
  get warnings(): readonly string[] {
    return this.missing.length === 0 ? [] : [`${this.name}: left out what Nestvm does not have: ${this.missing.join(' ')}`];
  }

  /** The same CPU in another topology. */
  withTopology(topology: CpuTopology): CpuModel {
    return new CpuModel({ ...description(this), topology }, this.missing);
  }
}

const vendorOf = ({ vendorId }: CpuIdentity): 'intel' | 'amd' => (vendorId === 'GenuineIntel' ? 'intel' : 'amd');

const description = (cpu: CpuDescription): CpuDescription => {
  const { name, vendorId, family, model, stepping, level, xlevel, modelId, features, physicalBits, topology, tscHz } = cpu;
  return { name, vendorId, family, model, stepping, level, xlevel, modelId, features, physicalBits, topology, tscHz };
};

const split = (words: string | undefined): string[] => (words ?? '').split(' ').filter((word) => word !== '');

function featuresOf(row: ModelRow): Set<CpuFeature> {
  const set = row.from === undefined ? new Set<CpuFeature>() : featuresOf(rowByName.get(row.from)!);
  for (const feature of [...split(row.features), ...split(row.plus)]) set.add(feature as CpuFeature);
  for (const feature of split(row.minus)) set.delete(feature as CpuFeature);
  return set;
}

/** Everything that Nestvm has; an Intel family so that leaves 4, 0xb, 15h and 16h say it all. */
const MAX: CpuIdentity = {
  name: 'max',
  vendorId: 'GenuineIntel',
  family: 6,
  model: 85,
  stepping: 4,
  level: 0x16,
  xlevel: 0x80000008,
  modelId: 'Nestvm Virtual CPU',
};
const AMD_MAX: CpuIdentity = {
  name: 'max',
  vendorId: 'AuthenticAMD',
  family: 25,
  model: 1,
  stepping: 1,
  level: 0xd,
  xlevel: 0x80000021,
  modelId: 'Nestvm Virtual CPU',
};

interface Start extends CpuIdentity {
  wanted: Set<CpuFeature>;
  /** True when the list is a promise (a named model), so that what is missing is worth a warning. */
  named: boolean;
}

function startFrom(name: string, vendor: string): Start {
  if (name === 'max' || name === 'host') {
    const isAmd = vendor === 'AuthenticAMD';
    const wanted = new Set([...implementedFeatures, ...virtualizationFeatures.intel, ...virtualizationFeatures.amd]);
    for (const feature of byNameOnly) wanted.delete(feature);
    for (const feature of isAmd ? intelOnlyFeatures : amdOnlyFeatures) wanted.delete(feature);
    return { ...(isAmd ? AMD_MAX : MAX), name, wanted, named: false };
  }
  if (name === 'base')
    return { name, vendorId: 'AuthenticAMD', family: 0, model: 0, stepping: 0, level: 1, xlevel: 0, modelId: '', wanted: new Set(), named: false };
  const row = rowByName.get(Object.hasOwn(modelAliases, name) ? modelAliases[name]! : name);
  if (row === undefined) {
    const near = nearestName(name, cpuModelNames);
    throw new CpuModelError('unknown-model', `-cpu ${name}: no such CPU model; ${near ? `the nearest is '${near}'` : "'nestvm models' lists them"}`);
  }
  const { vendor: vendorId, family, model, stepping, level, xlevel, id } = row;
  return { name, vendorId, family, model, stepping, level, xlevel, modelId: id, wanted: featuresOf(row), named: true };
}

const SETTINGS = [
  'vendor',
  'family',
  'model',
  'stepping',
  'level',
  'xlevel',
  'model-id',
  'phys-bits',
  'check',
  'enforce',
  'tsc-frequency',
  'migratable',
  'host-phys-bits',
  'l3-cache',
  'kvm',
] as const;

interface Request {
  feature?: CpuFeature;
  on?: boolean;
  setting?: (typeof SETTINGS)[number];
  value: string;
}

function parseItem(item: string): Request {
  const sign = /^[+-]/.exec(item)?.[0];
  const [rawName = '', ...rest] = (sign ? item.slice(1) : item).split('=');
  const value = rest.join('=');
  const feature = findFeature(rawName);
  if (feature !== undefined) {
    if (sign) return { feature, on: sign === '+', value };
    if (rest.length === 0 || value === 'on' || value === 'yes' || value === 'true') return { feature, on: true, value };
    if (value === 'off' || value === 'no' || value === 'false') return { feature, on: false, value };
    throw new CpuModelError('bad-value', `-cpu …,${item}: '${value}' is neither on nor off; write ${rawName}=on or ${rawName}=off`);
  }
  const setting = SETTINGS.find((name) => name === rawName.replaceAll('_', '-'));
  if (setting !== undefined && !sign) return { setting, value };
  const near = nearestName(rawName, [...featureNames, ...SETTINGS]);
  throw new CpuModelError(
    'unknown-feature',
    `-cpu …,${item}: no such feature; ${near ? `the nearest is '${near}'` : "'nestvm models -features' lists them"}`,
  );
}

function integer(setting: string, value: string, low: number, high: number): number {
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(value) ? Number(value) : NaN;
  if (number >= low && number <= high) return number;
  throw new CpuModelError('bad-value', `-cpu …,${setting}=${value}: not a whole number between ${low} and ${high}`);
}

const VENDORS: Readonly<Record<string, string>> = { intel: 'GenuineIntel', amd: 'AuthenticAMD', hygon: 'HygonGenuine' };

function vendorValue(value: string): string {
  const vendor = VENDORS[value.toLowerCase()] ?? value;
  if (vendor.length === 12) return vendor;
  throw new CpuModelError('bad-value', `-cpu …,vendor=${value}: a vendor is 12 characters; write vendor=GenuineIntel or vendor=AuthenticAMD`);
}

/** Settings of QEMU that have one outcome here. */
const ONLY = { 'l3-cache': 'caches are announced as the model has them' } as const;

function applySetting(out: Mutable<CpuDescription>, setting: string, value: string): void {
  switch (setting) {
    case 'vendor':
      out.vendorId = vendorValue(value);
      break;
    case 'family':
      out.family = integer(setting, value, 0, 0x10e);
      break;
    case 'model':
      out.model = integer(setting, value, 0, 255);
      break;
    case 'stepping':
      out.stepping = integer(setting, value, 0, 15);
      break;
    case 'level':
      out.level = integer(setting, value, 0, 0x20);
      break;
    case 'xlevel':
      out.xlevel = integer(setting, value, 0, 0x80000022);
      break;
    case 'model-id':
      out.modelId = value.slice(0, 48);
      break;
    case 'phys-bits':
      out.physicalBits = integer(setting, value, 32, 52);
      break;
    case 'tsc-frequency':
      if (integer(setting, value, 1, 1e12) !== TSC_HZ)
        throw new CpuModelError('bad-value', `-cpu …,tsc-frequency=${value}: the TSC of Nestvm runs at 1000000000 Hz; leave the option out`);
      break;
    case 'l3-cache':
      if (!/^(on|yes|true|)$/.test(value)) throw new CpuModelError('bad-value', `-cpu …,${setting}=${value}: ${ONLY[setting]}; leave the option out`);
      break;
    default:
      break; // these say how QEMU is to use its host: check, migratable, host-phys-bits, kvm
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Drops features whose foundation is off, until nothing changes. */
function dropUnfounded(features: Set<CpuFeature>): void {
  for (let changed = true; changed; ) {
    changed = false;
    for (const [feature, needs] of featureRequires) if (features.has(feature) && !features.has(needs)) changed = features.delete(feature);
  }
}

/** What `parseCpu` may be told beside the text. */
export interface CpuOptions {
  /** Nested virtualization, for both vendors or one; off by default, as KVM had it. */
  readonly nested?: boolean | Nesting;
}

/**
 * Parses QEMU's `-cpu` text: `MODEL[,+feature][,-feature][,feature=on|off][,vendor=…][,family=…]…`. Later items win.
 * Features that Nestvm lacks are left out and listed in `missing` when the model or the user asked for them. With `nested`, `host` and `max` have VMX or
 * SVM by their vendor, and named models what they list or are given; without it, asking for `vmx=on` or `svm=on` is an error.
 * Throws `CpuModelError` (`unknown-model`, `unknown-feature`, `bad-value`, `nesting-off`), naming the nearest name.
 */
export function parseCpu(text: string, topology: CpuTopology = { sockets: 1, cores: 1, threads: 1 }, options: CpuOptions = {}): CpuModel {
  const [name = '', ...items] = text.split(',').map((part) => part.trim());
  const nesting = typeof options.nested === 'object' ? options.nested : options.nested ? nestingOn : nestingOff;
  const requests = items.filter((item) => item !== '').map(parseItem);
  const lastVendor = requests.filter((request) => request.setting === 'vendor').at(-1)?.value ?? defaultVendor(nesting);
  const { wanted, named, ...identity } = startFrom(name === '' ? 'max' : name, vendorValue(lastVendor));
  const out: Mutable<CpuDescription> = { ...identity, features: wanted, physicalBits: DEFAULT_PHYSICAL_BITS, topology, tscHz: TSC_HZ };
  const promised = new Set(named ? wanted : []);
  const asked = new Set<CpuFeature>();
  if (name !== 'base') wanted.add('hypervisor');
  for (const { feature, on, setting, value } of requests) {
    if (setting !== undefined) applySetting(out, setting, value);
    if (feature === undefined) continue;
    for (const set of [wanted, promised, asked]) {
      if (on) set.add(feature);
      else set.delete(feature);
    }
  }
  const vendor = vendorOf(out);
  assertNestable(text, asked, vendor, nesting);
  const nested = nestedFeatures(vendor, nesting);
  const features = new Set([...wanted].filter((feature) => implementedFeatures.has(feature) || nested.has(feature)));
  dropUnfounded(features);
  out.features = features;
  // A model that lists svm is still itself on a host where nesting is off.
  const quiet = nesting[vendor] ? new Set<CpuFeature>() : virtualizationFeatures[vendor];
  const missing = [...promised].filter((feature) => !implementedFeatures.has(feature) && !nested.has(feature) && !quiet.has(feature));
  if (requests.some((r) => r.setting === 'enforce' && r.value !== 'off')) enforce(text, missing);
  return new CpuModel(out, missing);
}

function enforce(text: string, missing: readonly CpuFeature[]): void {
  if (missing.length > 0)
    throw new CpuModelError('unknown-feature', `-cpu ${text}: Nestvm does not have ${missing.join(', ')}; leave out 'enforce' or switch them off`);
}
