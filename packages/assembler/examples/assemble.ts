import * as assembler from '@nestvm/assembler';

console.log(`@nestvm/assembler exports ${Object.keys(assembler).length} items`);
