import { CpuModelError } from './errors.js';
import type { CpuFeature } from './features.js';

/** For which vendor's CPUs nested virtualization is on, as the `nested` parameters of kvm-intel and kvm-amd say for a real host. */
export interface Nesting {
  readonly intel: boolean;
  readonly amd: boolean;
}

/** Nested virtualization for nobody: the default. */
export const nestingOff: Nesting = { intel: false, amd: false };
/** … and for both vendors. */
export const nestingOn: Nesting = { intel: true, amd: true };

/** What nesting adds to the features that a CPU of each vendor may have. */
export const virtualizationFeatures: Readonly<Record<'intel' | 'amd', ReadonlySet<CpuFeature>>> = {
  intel: new Set<CpuFeature>(['vmx']),
  amd: new Set<CpuFeature>([
    'svm',
    'npt',
    'lbrv',
    'nrip-save',
    'tsc-scale',
    'vmcb-clean',
    'flushbyasid',
    'decodeassists',
    'pause-filter',
    'pfthreshold',
    'v-vmsave-vmload',
    'vgif',
    'vnmi',
    'svme-addr-chk',
    'idle-hlt',
    'svm-lock',
    'avic',
    'x2avic',
  ]),
};

const SWITCHES = {
  intel: { feature: 'vmx', line: 'options kvm-intel nested=Y' },
  amd: { feature: 'svm', line: 'options kvm-amd nested=1' },
} as const;

/** The features of nesting that this vendor's CPUs may announce. */
export const nestedFeatures = (vendor: 'intel' | 'amd', nesting: Nesting): ReadonlySet<CpuFeature> =>
  nesting[vendor] ? virtualizationFeatures[vendor] : new Set();

/** Throws `CpuModelError` (`nesting-off`, `bad-value`) when somebody asks for VMX or SVM where it cannot be. */
export function assertNestable(text: string, asked: ReadonlySet<CpuFeature>, vendor: 'intel' | 'amd', nesting: Nesting): void {
  const other = vendor === 'intel' ? 'amd' : 'intel';
  const foreign = SWITCHES[other].feature;
  const { feature, line } = SWITCHES[vendor];
  if (asked.has(foreign)) {
    const maker = vendor === 'intel' ? 'an Intel' : 'an AMD';
    throw new CpuModelError(
      'bad-value',
      `-cpu ${text}: ${maker} CPU has ${feature}, not ${foreign}; write ${feature}=on, or choose another model or vendor=${other}`,
    );
  }
  if (asked.has(feature) && !nesting[vendor])
    throw new CpuModelError(
      'nesting-off',
      `-cpu ${text}: nested virtualization is off, so there is no ${feature}; add --nested, or --modprobe FILE with the line '${line}'`,
    );
}

/** The vendor that `host` and `max` take when none is named: Intel, unless nesting is on for AMD only. */
export const defaultVendor = (nesting: Nesting): 'intel' | 'amd' => (nesting.amd && !nesting.intel ? 'amd' : 'intel');
