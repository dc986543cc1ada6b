/** Characters of code page 437, which a VGA's font has, by number. */
const LOW = ' ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼';
const HIGH = '⌂ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ';
const ASCII = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));

/** Code page 437 as text: one character each. */
export const CODE_PAGE_437: readonly string[] = [...Array.from(LOW), ...ASCII, ...Array.from(HIGH)];
