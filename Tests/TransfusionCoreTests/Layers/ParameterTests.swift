import Testing

@testable import TransfusionCore

@Suite struct ParameterTests {
    private func store(_ builder: ParameterBuilder, _ type: ElementType = .f32) -> ParameterStore {
        let allocator = CachingAllocator()
        return ParameterStore(builder, type: type, allocator: allocator) { Tensor([$0], .f32, allocator: allocator) }
    }

    /// Every layout starts from the same model: a part's initial values are that part of the whole's.
    @Test(arguments: [(0, 2), (1, 2), (0, 3), (1, 3), (1, 4)]) func partsStartAsPartsOfTheWhole(axis: Int, parts: Int) {
        let shape = [10, 7]
        func initial(_ rank: Int, of size: Int) -> (Parameter, [Float]) {
            let builder = ParameterBuilder(tensorRank: rank, tensorSize: size)
            let parameter = builder.parameter("w", shape, splitAlong: axis, .normal(standardDeviation: 0.5))
            store(builder).initialize(seed: 3)
            return (parameter, parameter.value.floats())
        }
        let (_, whole) = initial(0, of: 1)
        var seen = [Int](repeating: 0, count: whole.count)
        for rank in 0..<parts {
            let (parameter, values) = initial(rank, of: parts)
            let (offsets, sizes) = parameter.shard.box(in: shape)
            #expect(parameter.shape == sizes && parameter.globalShape == shape)
            for row in 0..<sizes[0] {
                for column in 0..<sizes[1] {
                    let place = (offsets[0] + row) * shape[1] + offsets[1] + column
                    #expect(values[row * sizes[1] + column] == whole[place])
                    seen[place] += 1
                }
            }
        }
        #expect(seen.allSatisfy { $0 == 1 })
    }

    /// More elements than are drawn at once.
    @Test func longRunsHaveNoSeam() {
        let builder = ParameterBuilder()
        let parameter = builder.parameter("w", [3, 50_000], .normal(standardDeviation: 1))
        store(builder).initialize(seed: 1)
        let split = ParameterBuilder(tensorRank: 1, tensorSize: 2)
        let half = split.parameter("w", [3, 50_000], splitAlong: 1, .normal(standardDeviation: 1))
        store(split).initialize(seed: 1)
        for row in 0..<3 {
            #expect(
                Array(half.value.f32[row * 25_000..<(row + 1) * 25_000])
                    == Array(parameter.value.f32[row * 50_000 + 25_000..<(row + 1) * 50_000]))
        }
    }

    @Test func aGroupHasNoGapsAndStartsAligned() {
        let builder = ParameterBuilder()
        _ = builder.parameter("norm", [5], .ones)
        let pair = builder.adjacent(["a", "b"], [[3, 5], [2, 5]], .zeros)
        let single = builder.parameter("c", [4, 4], .zeros)
        let store = store(builder, .bf16)
        #expect(store.parameters.map(\.name) == ["a", "b", "c", "norm"])
        #expect(pair[0].offset == 0 && pair[1].offset == 15 && single.offset == 32)
        #expect(store.vectorStart == 48 && store.count == 64)
        #expect(store.globalCount == 15 + 10 + 16 + 5)
        #expect(store.parameters.map(\.value.type) == [.bf16, .bf16, .bf16, .f32])
        #expect(store.parameters.map { $0.gradient?.count } == [15, 10, 16, 5])
        #expect(store["b"] === pair[1] && store["d"] == nil)
    }

    @Test(arguments: [ElementType.f32, .bf16]) func masterValuesComeBack(type: ElementType) {
        let builder = ParameterBuilder()
        let parameter = builder.parameter("w", [4, 6], .zeros)
        let store = store(builder, type)
        let optimizer = AdamW(
            store, settings: .init(), pool: ThreadPool(threads: 1), allocator: CachingAllocator())
        // No two neighbours share their bf16 rounding; some lie exactly between two bf16 numbers.
        let values = (0..<24).map { index -> Float in
            let tie: Float = index % 5 == 0 ? 0x1p-9 : 0
            return Float(index - 11) * 1.000_123 + tie
        }
        values[..<10].withContiguousStorageIfAvailable { parameter.writeMaster($0, at: 0) }
        values[10...].withContiguousStorageIfAvailable { parameter.writeMaster($0, at: 10) }
        var read = [Float](repeating: .nan, count: 24)
        read.withUnsafeMutableBufferPointer { parameter.readMaster($0, at: 0) }
        #expect(read == values)
        var part = [Float](repeating: .nan, count: 5)
        part.withUnsafeMutableBufferPointer { parameter.readMaster($0, at: 13) }
        #expect(part == Array(values[13..<18]))
        withExtendedLifetime(optimizer) {}
    }
}
