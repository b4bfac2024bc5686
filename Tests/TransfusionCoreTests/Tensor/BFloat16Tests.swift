import Testing

@testable import TransfusionCore

@Suite struct BFloat16Tests {
    /// bf16 has 8 significant bits, so its neighbours around 1 are 1/128 apart above and 1/256 below.
    @Test(
        arguments: [
            (1, 1), (-2, -2), (0, 0), (1 + 0x1p-7, 1 + 0x1p-7),
            // Halfway goes to the even neighbour, anything beyond to the nearer one.
            (1 + 0x1p-8, 1), (1 + 3 * 0x1p-8, 1 + 0x1p-6), (1 + 0x1.0002p-8, 1 + 0x1p-7), (1 + 0x1.fp-9, 1),
            (-1 - 0x1p-8, -1), (-1 - 3 * 0x1p-8, -1 - 0x1p-6),
            // The carry goes through into the exponent.
            (0x1.ffp0, 2), (0x1.feffp0, 0x1.fep0),
            (.infinity, .infinity), (-.infinity, -.infinity), (.greatestFiniteMagnitude, .infinity),
            (0x1.fep127, 0x1.fep127), (0x1.fefffep127, 0x1.fep127),
            // Subnormal numbers are kept.
            (0x1p-133, 0x1p-133), (0x1p-134, 0), (0x1.8p-133, 0x1p-132), (.leastNonzeroMagnitude, 0),
        ] as [(Float, Float)])
    func roundsToNearestEven(value: Float, rounded: Float) {
        #expect(BFloat16(value).float == rounded)
    }

    @Test func keepsTheSignOfZero() {
        #expect(BFloat16(-0.0).float.sign == .minus)
        #expect(BFloat16(-Float.leastNonzeroMagnitude).float.sign == .minus)
    }

    @Test(arguments: [0x7f80_0001, 0x7fc0_0000, 0xff80_0001, 0x7fff_ffff, 0xffff_ffff] as [UInt32])
    func nanStaysNaN(bits: UInt32) {
        let converted = BFloat16(Float(bitPattern: bits)).float
        #expect(converted.isNaN)
        #expect(converted.sign == Float(bitPattern: bits).sign)
    }

    @Test func everyPatternSurvivesTheWayThroughFloat() {
        for bits in UInt16.min...UInt16.max {
            let value = BFloat16(bits: bits)
            let back = BFloat16(value.float)
            #expect(value.float.isNaN ? back.float.isNaN : back == value)
        }
    }
}
