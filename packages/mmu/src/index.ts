/**
 * Guest walks, nested walks, combined translations, the tagged TLB.
 *
 * @packageDocumentation
 */
export {};
