/**
 * Every difference between this decoder and iced-x86 that is on purpose, with its reason. The comparison looks here and nowhere else;
 * a difference that no entry explains fails the sweep. Each entry counts its uses, and the counts are printed.
 */
export interface Deviation {
  readonly id: string;
  readonly reason: string;
}

/** iced's mnemonics that are #UD here, by extension. */
export const notImplemented: readonly (Deviation & { readonly mnemonics: readonly string[] })[] = [
  {
    id: 'key-locker',
    reason: 'Key Locker is in no CPU model of Nestvm, so its opcodes are #UD.',
    mnemonics: [
      'Aesenc128kl',
      'Aesdec128kl',
      'Aesenc256kl',
      'Aesdec256kl',
      'Aesencwide128kl',
      'Aesencwide256kl',
      'Aesdecwide128kl',
      'Aesdecwide256kl',
      'Loadiwkey',
      'Encodekey128',
      'Encodekey256',
    ],
  },
  { id: 'rao-int', reason: 'RAO-INT is in no CPU model of Nestvm.', mnemonics: ['Aadd', 'Aand', 'Aor', 'Axor'] },
  {
    id: 'padlock',
    reason: 'VIA PadLock: no model is a VIA or Centaur CPU.',
    mnemonics: [
      'Xstore',
      'Xstore_alt',
      'Undoc',
      'Xsha1',
      'Xsha256',
      'Xsha512',
      'Xsha512_alt',
      'Ccs_hash',
      'Ccs_encrypt',
      'Xcryptecb',
      'Xcryptcbc',
      'Xcryptctr',
      'Xcryptcfb',
      'Xcryptofb',
      'Montmul',
    ],
  },
  { id: 'fred', reason: 'FRED and LKGS are in no CPU model of Nestvm.', mnemonics: ['Lkgs', 'Eretu', 'Erets'] },
  { id: 'sev-snp', reason: 'SEV-SNP is not offered.', mnemonics: ['Pvalidate', 'Psmash', 'Rmpadjust', 'Rmpupdate', 'Rmpquery'] },
  { id: 'tdx', reason: 'TDX and total memory encryption are not offered.', mnemonics: ['Tdcall', 'Seamret', 'Seamops', 'Seamcall', 'Pbndkb'] },
  { id: 'mcommit', reason: 'MCOMMIT is in no CPU model of Nestvm.', mnemonics: ['Mcommit'] },
  {
    id: 'fma4',
    reason: 'FMA4 and XOP (Bulldozer) are not offered, not even by Opteron_G4 and Opteron_G5, which lose them as on a host that lacks them.',
    mnemonics: [
      'Vpermil2ps',
      'Vpermil2pd',
      ...['add', 'sub'].flatMap((op) => [
        `Vfm${op}ps`,
        `Vfm${op}pd`,
        `Vfm${op}ss`,
        `Vfm${op}sd`,
        `Vfnm${op}ps`,
        `Vfnm${op}pd`,
        `Vfnm${op}ss`,
        `Vfnm${op}sd`,
      ]),
      'Vfmaddsubps',
      'Vfmaddsubpd',
      'Vfmsubaddps',
      'Vfmsubaddpd',
    ],
  },
  {
    id: 'avx-2023',
    reason: 'AVX-VNNI-INT8/INT16, AVX-IFMA, AVX-NE-CONVERT, SHA512, SM3 and SM4 are in no CPU model of Nestvm.',
    mnemonics: [
      'Vpdpbuud',
      'Vpdpbuuds',
      'Vpdpwuud',
      'Vpdpwuuds',
      'Vpdpwusd',
      'Vpdpwusds',
      'Vpdpwsud',
      'Vpdpwsuds',
      'Vpdpbsud',
      'Vpdpbsuds',
      'Vpdpbssd',
      'Vpdpbssds',
      'Vpmadd52luq',
      'Vpmadd52huq',
      'Vbcstnebf162ps',
      'Vbcstnesh2ps',
      'Vcvtneebf162ps',
      'Vcvtneeph2ps',
      'Vcvtneobf162ps',
      'Vcvtneoph2ps',
      'Vcvtneps2bf16',
      'Vsha512msg1',
      'Vsha512msg2',
      'Vsha512rnds2',
      'Vsm3msg1',
      'Vsm3msg2',
      'Vsm3rnds2',
      'Vsm4key4',
      'Vsm4rnds4',
    ],
  },
  {
    id: 'amx',
    reason: 'AMX tiles are not offered.',
    mnemonics: [
      'Ldtilecfg',
      'Sttilecfg',
      'Tilerelease',
      'Tilezero',
      'Tileloadd',
      'Tileloaddt1',
      'Tilestored',
      'Tdpbssd',
      'Tdpbsud',
      'Tdpbusd',
      'Tdpbuud',
      'Tdpbf16ps',
      'Tdpfp16ps',
      'Tcmmimfp16ps',
      'Tcmmrlfp16ps',
    ],
  },
  {
    id: 'cmpccxadd',
    reason: 'CMPccXADD is in no CPU model of Nestvm.',
    mnemonics: 'o no b ae e ne be a s ns p np l ge le g'
      .split(' ')
      .map((cc) => `Cmp${cc}xadd`)
      .concat(['Cmpnbexadd', 'Cmpnbxadd', 'Cmpnzxadd', 'Cmpzxadd', 'Cmpnlexadd', 'Cmpnlxadd']),
  },
  {
    id: 'knights',
    reason: 'AVX512ER, AVX512PF, 4FMAPS and 4VNNIW (Knights Landing and Mill) are in no CPU model of Nestvm.',
    mnemonics: [
      'Vexp2ps',
      'Vexp2pd',
      ...['Vrcp28', 'Vrsqrt28'].flatMap((name) => ['ps', 'pd', 'ss', 'sd'].map((type) => name + type)),
      'Vp4dpwssd',
      'Vp4dpwssds',
      'V4fmaddps',
      'V4fmaddss',
      'V4fnmaddps',
      'V4fnmaddss',
      ...['gather', 'scatter'].flatMap((name) =>
        ['0', '1'].flatMap((hint) => ['dps', 'dpd', 'qps', 'qpd'].map((type) => `V${name}pf${hint}${type}`)),
      ),
    ],
  },
  { id: 'ptwrite', reason: 'Intel Processor Trace is not offered.', mnemonics: ['Ptwrite'] },
];

/** Encodings of iced that are #UD here altogether. */
export const notImplementedEncodings: readonly (Deviation & { readonly encoding: string })[] = [
  { id: 'xop', reason: 'XOP, TBM and LWP (Bulldozer) are not offered; 8F with ModRM.reg not 0 is #UD.', encoding: 'XOP' },
  {
    id: '3dnow',
    reason: "3DNow! left AMD's CPUs in 2010 and no model of Nestvm offers it; its prefetches and FEMMS are decoded.",
    encoding: 'D3NOW',
  },
];

/** iced's name for the same instruction, and why the names differ. */
export const otherNames: readonly (Deviation & { readonly iced: string; readonly ours: string; readonly skipOperands?: true })[] = [
  { id: 'sal', reason: 'SAL and SHL are one instruction (SDM Vol. 2, "SAL/SAR/SHL/SHR"); group 2 /6 is an alias of /4.', iced: 'Sal', ours: 'SHL' },
  { id: 'getsec', reason: 'GETSEC has one name in the SDM; iced tells the 64-bit operand size apart.', iced: 'Getsecq', ours: 'GETSEC' },
  {
    id: 'prefetchit',
    reason: 'PREFETCHIT0/1 are hints in reserved-NOP space, and no model has the feature.',
    iced: 'Prefetchit0',
    ours: 'NOP',
    skipOperands: true,
  },
  {
    id: 'prefetchit',
    reason: 'PREFETCHIT0/1 are hints in reserved-NOP space, and no model has the feature.',
    iced: 'Prefetchit1',
    ours: 'NOP',
    skipOperands: true,
  },
  {
    id: 'vmgexit',
    reason: 'F2 and F3 make VMMCALL a VMGEXIT under SEV-ES only, which is not offered; elsewhere it is VMMCALL (APM Vol. 3).',
    iced: 'Vmgexit',
    ours: 'VMMCALL',
  },
  { id: 'pcmpestr64', reason: 'The SDM has one name; iced tells REX.W (lengths in RAX and RDX) apart.', iced: 'Pcmpestrm64', ours: 'PCMPESTRM' },
  { id: 'pcmpestr64', reason: 'As above.', iced: 'Pcmpestri64', ours: 'PCMPESTRI' },
  { id: 'pcmpestr64', reason: 'As above.', iced: 'Vpcmpestrm64', ours: 'VPCMPESTRM' },
  { id: 'pcmpestr64', reason: 'As above.', iced: 'Vpcmpestri64', ours: 'VPCMPESTRI' },
];

/** Operands that iced lists and the manual does not print. */
export const impliedOperands: readonly (Deviation & { readonly ours: string; readonly first: number; readonly last: number })[] = [
  { id: 'xlat', reason: 'XLATB prints no operand; iced lists its implied memory operand.', ours: 'XLAT', first: 1, last: 0 },
  {
    id: 'maskmov',
    reason: 'MASKMOVQ and (V)MASKMOVDQU print no memory operand; iced lists the implied one first.',
    ours: 'MASKMOVQ',
    first: 1,
    last: 0,
  },
  { id: 'maskmov', reason: 'As for MASKMOVQ.', ours: 'MASKMOVDQU', first: 1, last: 0 },
  { id: 'maskmov', reason: 'As for MASKMOVQ.', ours: 'VMASKMOVDQU', first: 1, last: 0 },
];

/** Deviations that the comparison applies by rule. */
export const rules = {
  arpl: { id: 'arpl', reason: 'ARPL is r/m16, r16 (SDM Vol. 2); iced names 32-bit registers under a 32-bit operand size.' },
  mpx: {
    id: 'mpx',
    reason:
      'Where MPX is not enabled its encodings are NOPs, whatever their operands; iced refuses those that are #UD where it is. The CPU tells them apart.',
  },
  newer: {
    id: 'newer',
    reason:
      'MSR_IMM and USER_MSR (SDM Vol. 2, "RDMSR", "URDMSR") are newer than iced-x86 1.21; decode.test.ts has their bytes as binutils prints them.',
  },
  segment64: {
    id: 'segment64',
    reason:
      'In 64-bit mode ES, CS, SS and DS prefixes have no effect; iced reports the last one, we the segment that is used (which also tells #SS from #GP).',
  },
} as const satisfies Record<string, Deviation>;

/** Uses by id, filled in by the comparison. */
export const deviationCounts = new Map<string, number>();

/** Records one use; returns true, so that it can end a condition. */
export function used(deviation: Deviation): true {
  deviationCounts.set(deviation.id, (deviationCounts.get(deviation.id) ?? 0) + 1);
  return true;
}
