import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

@Suite struct StepTimePlanTests {
    private static let model = ModelConfiguration(
        layers: 2, width: 64, heads: 4, feedForward: 128, vocabulary: 1000, patchSize: 2, imageChannels: 4,
        imageHeight: 8, imageWidth: 8, beginOfText: 1, endOfText: 2, beginOfImage: 998, endOfImage: 999)
    /// 100 rows, two images of 16 patches in them.
    private static let sizes = MicroBatchSizes(sequenceLength: 100, images: 2, targets: 60)
    /// A row sees itself and what is before it, a patch also the rest of its image.
    private static let visiblePairs: Double = 5050 + 240
    /// 6 for each weight and row, 12 for each visible pair and element of width, in both layers.
    private static let blockOperations: Double = {
        let weights = 4.0 * 64 * 64 + 3 * 64 * 128
        return 2 * (6 * weights * 100 + 12 * 64 * visiblePairs)
    }()
    /// Head, both ways between patches and width, and the timesteps of the images.
    private static let otherOperations: Double = {
        let head = 6.0 * 64 * 1000 * 60, patches = 12.0 * 64 * 16 * 32, timesteps = 12.0 * (256 + 64 + 16) * 64
        return head + patches + timesteps
    }()
    private static let parameters: Double = {
        let elements = TransfusionModel.elementCounts(model)
        return Double(elements.matrices + elements.vectors)
    }()

    /// One operation takes 1 ns on both threads together, and what passes over memory add at width 64 another.
    private static let machine: MachineRates = {
        var machine = MachineRates.example
        machine.secondsPerOperation = 1e-9
        machine.secondsPerOperationAndInverseWidth = 64e-9
        machine.updatesPerSecond = 1e6
        machine.sharedSumBytesPerSecond = 1e8
        return machine
    }()
    private static let network = NetworkRates(bytesPerSecond: 1e6, latency: 1e-3)

    private func plan(
        threads: Int = 2, network: NetworkRates = Self.network, _ change: (inout MemoryPlan.Layout) -> Void = { _ in }
    ) throws -> StepTimePlan {
        var layout = MemoryPlan.Layout()
        change(&layout)
        let pass = try TransfusionModel.cost(Self.model, layout, Self.sizes)
        return StepTimePlan(Self.model, layout, pass, machine: Self.machine, threads: threads, network: network)
    }

    private func isClose(_ value: Double, _ expected: Double) -> Bool {
        abs(value - expected) <= 1e-9 * max(abs(expected), 1e-12)
    }

    @Test func aLoneRankComputesAndUpdates() throws {
        let plan = try plan { $0.microBatches = 3 }
        #expect(isClose(plan.compute, 3 * (Self.blockOperations + Self.otherOperations) * 2e-9))
        #expect(isClose(plan.update, Self.parameters / 1e6))
        #expect(plan.tensorExchange == 0 && plan.gradientExchange == 0 && plan.weightExchange == 0)
        #expect(isClose(plan.total, plan.compute + plan.update))
    }

    @Test func halfTheThreadsTakeTwiceAsLong() throws {
        let one = try plan(threads: 1), two = try plan()
        #expect(isClose(one.total, 2 * two.total))
    }

    @Test func recomputationIsAnotherForwardPass() throws {
        let none = try plan(), selective = try plan { $0.recomputation = .selective },
            full = try plan { $0.recomputation = .full }
        #expect(isClose(full.compute - none.compute, Self.blockOperations / 3 * 2e-9))
        #expect(isClose(selective.compute - none.compute, 2 * 12 * 64 * Self.visiblePairs / 3 * 2e-9))
    }

    @Test func tensorParallelRanksShareTheWorkAndExchangeActivations() throws {
        let alone = try plan(), shared = try plan(threads: 1) { $0.tensor = 2 }
        #expect(isClose(shared.compute, alone.compute))
        // The embedding's sum, the gradient of the last rows, and of each of these a maximum and two sums.
        let stream = 100.0 * 64, ends = 8 * stream + 8 * 60 * 64 + 8 * 60 * 3
        // In each of 2 layers 4 sums in f32 and 4 gathers in bf16; the rows before the head in bf16 and the gradient behind
        // the embedding in f32; the gradients of 5 norms.
        let sharedBytes = 8 * stream * (4 + 2) + (2 + 4) * stream + 8 * 5 * 64
        #expect(isClose(shared.tensorExchange, (sharedBytes + ends) / 1e8))
        let repeated = try plan(threads: 1) {
            $0.tensor = 2
            $0.sequenceParallel = false
        }
        // Half of the passes over memory, which take as long as the products, are not shared out.
        let operations = Self.blockOperations + Self.otherOperations
        #expect(isClose(repeated.compute - shared.compute, operations / 2 * (1 - 0.5) * 2e-9))
        #expect(isClose(repeated.tensorExchange, (8 * stream * 8 + ends) / 1e8))
    }

    @Test func ranksOfAHostExchangeBesideTheComputation() throws {
        let plan = try plan { $0.data = 2 }
        // Both are shorter than the computation beside them, of which they take one of two threads.
        #expect(isClose(plan.gradientExchange, 4 * Self.parameters / 1e8 / 2))
        #expect(plan.weightExchange > 0 && plan.weightExchange < 4 * Self.parameters / 1e8 / 2)
        #expect(abs(plan.update / (Self.parameters / 2 / 1e6) - 1) < 1e-4)
    }

    @Test func aSlowNetworkIsWaitedFor() throws {
        let plan = try plan {
            $0.data = 4
            $0.hosts = 4
        }
        // One bucket: three messages of an even part of the vector each, and its sum on arrival.
        let bytes = 4 * Self.parameters
        let messages = 3 * (bytes / 4 / Double(ExchangeSizes.messageBytes(hosts: 4))).rounded(.up)
        let exchange = messages * 1e-3 + bytes * 0.75 / 1e6 + bytes / 1e8
        let backward = plan.compute * 2 / 3
        #expect(isClose(plan.gradientExchange, exchange - backward + backward / 2))
        #expect(plan.weightExchange > plan.update)
    }

    @Test func elasticSumsWaitForEachOtherMicroBatch() throws {
        let plan = try plan {
            $0.isElastic = true
            $0.microBatches = 4
        }
        #expect(isClose(plan.elasticSums, 3 * 4 * Self.parameters / 1e8))
    }
}

@Suite struct NetworkRatesTests {
    private let network = NetworkRates(bytesPerSecond: 1e9, latency: 1e-3)

    @Test func pairwiseExchange() {
        // 3 partners and 3/4 of 8 MB.
        #expect(
            abs(network.exchangeSeconds(bytes: 8e6, hosts: 4, ranks: 1, buckets: 1, messageBytes: .max) - 0.009) < 1e-12
        )
        // Each piece of 2 MB in two messages.
        let cut = network.exchangeSeconds(bytes: 8e6, hosts: 4, ranks: 1, buckets: 1, messageBytes: 1_000_000)
        #expect(abs(cut - 0.012) < 1e-12)
        // Two ranks of a host share its connection, and have half of each piece.
        let shared = network.exchangeSeconds(bytes: 8e6, hosts: 4, ranks: 2, buckets: 1, messageBytes: 1_000_000)
        #expect(abs(shared - 0.009) < 1e-12)
        let buckets = network.exchangeSeconds(bytes: 8e6, hosts: 4, ranks: 1, buckets: 5, messageBytes: .max)
        #expect(abs(buckets - 0.021) < 1e-12)
    }

    @Test func oneHostExchangesNothing() {
        #expect(network.exchangeSeconds(bytes: 8e6, hosts: 1, ranks: 2, buckets: 3, messageBytes: 1000) == 0)
    }
}
