import Testing

@testable import TransfusionCore

@Suite struct PhiloxTests {
    /// The known answers that Random123 publishes for philox4x32, 10 rounds.
    @Test func knownAnswers() {
        let ones = UInt32.max
        #expect(
            Philox.block(counter: SIMD4(0, 0, 0, 0), key: SIMD2(0, 0))
                == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
        #expect(
            Philox.block(counter: SIMD4(ones, ones, ones, ones), key: SIMD2(ones, ones))
                == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
        #expect(
            Philox.block(
                counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), key: SIMD2(0xa409_3822, 0x299f_31d0)
            )
                == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
    }

    private func normals(_ generator: Philox, count: Int, offset: Int = 0, deviation: Float = 1) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, filled in
            generator.fillNormal(
                UnsafeMutableBufferPointer(rebasing: buffer[..<count]), offset: offset, standardDeviation: deviation)
            filled = count
        }
    }

    @Test(arguments: [(0, 1), (1, 1), (3, 5), (4, 8), (5, 3), (17, 100), (1000, 1), (1021, 3), (0, 0)])
    func aFillFromAnOffsetIsASliceOfTheWhole(offset: Int, count: Int) {
        let generator = Philox(seed: 42, purpose: .noise, step: 7, index: 3)
        let whole = normals(generator, count: 1024)
        #expect(normals(generator, count: count, offset: offset) == Array(whole[offset..<offset + count]))
    }

    @Test func normalNumbersHaveTheMomentsOfANormalDistribution() {
        let count = 1 << 18
        let values = normals(Philox(seed: 1, purpose: .weights), count: count, deviation: 2).map { Double($0) / 2 }
        func moment(_ power: Int) -> Double {
            values.reduce(0) { sum, value in sum + (0..<power).reduce(1.0) { product, _ in product * value } }
                / Double(count)
        }
        // Six standard errors of each sample moment: √1, √2, √15 and √96 over √count.
        let unit = 6 / Double(count).squareRoot()
        #expect(abs(moment(1)) < unit)
        #expect(abs(moment(2) - 1) < unit * 2.0.squareRoot())
        #expect(abs(moment(3)) < unit * 15.0.squareRoot())
        #expect(abs(moment(4) - 3) < unit * 96.0.squareRoot())
        // Neighbours within a block of four and across blocks are independent.
        for lag in 1...5 {
            let products = zip(values, values.dropFirst(lag)).reduce(0) { $0 + $1.0 * $1.1 }
            #expect(abs(products / Double(count)) < unit, "lag \(lag)")
        }
        let beyondTwo = Double(values.count { abs($0) > 2 }) / Double(count)
        #expect(abs(beyondTwo - 0.0455) < 6 * (0.0455 * 0.9545 / Double(count)).squareRoot())
    }

    @Test func everyPartOfTheAddressMatters() {
        let numbers = [
            Philox(seed: 1, purpose: .noise, step: 2, index: 3), Philox(seed: 2, purpose: .noise, step: 2, index: 3),
            Philox(seed: 1, purpose: .timestep, step: 2, index: 3),
            Philox(seed: 1, purpose: .noise, step: 3, index: 3), Philox(seed: 1, purpose: .noise, step: 2, index: 4),
            Philox(seed: 1 << 32 | 1, purpose: .noise, step: 2, index: 3),
        ].flatMap { generator in (0..<8).map { generator.words($0) } }
        #expect(Set(numbers).count == numbers.count)
    }

    @Test func uniformNumbersCoverTheirRange() {
        let generator = Philox(seed: 5, purpose: .order)
        let count = 1 << 14
        let uniform = (0..<count).map { generator.uniform(at: $0) }
        #expect(uniform.allSatisfy { $0 >= 0 && $0 < 1 })
        #expect(abs(uniform.reduce(0, +) / Double(count) - 0.5) < 6 / (12 * Double(count)).squareRoot())
        var histogram = [Int](repeating: 0, count: 7)
        for position in 0..<count { histogram[generator.integer(below: 7, at: position)] += 1 }
        let expected = Double(count) / 7
        for found in histogram { #expect(abs(Double(found) - expected) < 6 * expected.squareRoot()) }
        #expect(generator.integer(below: 1, at: 3) == 0)
        #expect((0..<100).allSatisfy { generator.integer(below: .max, at: $0) >= 0 })
    }
}
