import Testing
import TransfusionCore
import TransfusionModels
import TransfusionParallel

@Suite struct ShardedAdamWTests {
    private static let single = Result { try ToyTraining().run() }

    @Test(arguments: [2, 3, 5, 8]) func anyNumberOfRanksTrainsTheSame(_ data: Int) throws {
        let single = try Self.single.get()
        let shared = try ToyTraining(data: data).run()
        #expect(shared.losses.relativeDifference(from: single.losses) < 2e-5)
        #expect(shared.norms.relativeDifference(from: single.norms) < 2e-5)
        #expect(single.losses[19] < single.losses[0] * 0.9, "the toy learns: \(single.losses)")
    }

    @Test(arguments: [(1, 2), (1, 4), (2, 2), (3, 2), (2, 4), (4, 2)])
    func everyLayoutTrainsTheSame(_ data: Int, _ tensor: Int) throws {
        let single = try Self.single.get()
        for recomputation in TransfusionModel.Recomputation.allCases {
            for sequenceParallel in [false, true] {
                let split = try ToyTraining(
                    data: data, tensor: tensor, sequenceParallel: sequenceParallel, recomputation: recomputation
                ).run()
                let what: Comment = "recompute \(recomputation), sequence parallel \(sequenceParallel)"
                #expect(split.losses.relativeDifference(from: single.losses) < 2e-5, what)
                #expect(split.norms.relativeDifference(from: single.norms) < 2e-5, what)
            }
        }
    }

    @Test(arguments: [1, 2, 4, 8]) func oneBucketOrManyGiveTheSameBits(_ data: Int) throws {
        let many = try ToyTraining(data: data, steps: 5, bucketLength: 1).run()
        let one = try ToyTraining(data: data, steps: 5, bucketLength: 1 << 30).run()
        #expect(many == one)
    }

    @Test(arguments: [ElementType.f32, .bf16]) func elasticGivesTheSameBitsOnAnyNumberOfRanks(_ type: ElementType)
        throws
    {
        let single = try ToyTraining(order: .elastic, type: type).run()
        for data in [2, 4, 8] {
            let shared = try ToyTraining(data: data, order: .elastic, type: type).run()
            #expect(shared.losses == single.losses, "\(data) ranks")
            #expect(shared.norms == single.norms, "\(data) ranks")
            #expect(shared.weights == single.weights, "\(data) ranks")
        }
    }

    @Test func elasticAndFastDifferByRoundingOnly() throws {
        let elastic = try ToyTraining(order: .elastic).run()
        let single = try Self.single.get()
        #expect(elastic.losses.relativeDifference(from: single.losses) < 2e-5)
        #expect(elastic.weights != single.weights, "the orders are different orders")
    }

    @Test(arguments: [1, 2, 4]) func stateIsSharedOutEvenly(_ data: Int) throws {
        let bytes = try ThreadGroup.run(ranks: data) { world in
            let allocator = CachingAllocator()
            let pool = ThreadPool(threads: 1)
            let context = Context(pool: pool, type: .f32, allocator: allocator)
            let builder = ParameterBuilder()
            for index in 0..<4 { _ = builder.parameter("matrix \(index)", [256, 256], .zeros) }
            let store = ParameterStore(builder, type: context.type, allocator: allocator) {
                Tensor([$0], .f32, allocator: allocator)
            }
            return ShardedAdamW(
                store, group: world, settings: AdamW.Settings(), pool: pool, allocator: allocator
            ).byteCount
        }
        #expect(bytes.allSatisfy { $0 == 4 * 256 * 256 * 8 / data })
    }
}
