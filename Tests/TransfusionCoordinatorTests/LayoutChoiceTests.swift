import Testing
import TransfusionConfig

@testable import TransfusionCoordinator

@Suite struct LayoutChoiceTests {
    private func configuration(_ overrides: String...) throws -> RunConfiguration {
        try RunConfiguration(
            yaml: """
                model: {layers: 2, width: 32, heads: 4, patch: 2}
                data: {path: d}
                schedule: {steps: 20, warmup_steps: 1}
                batch: {sequence_length: 64, global_sequences: 8}
                """, overrides: overrides)
    }

    private func hosts(_ slots: Int...) -> [ComputeHost] {
        slots.enumerated().map { ComputeHost(name: "node\($0.offset)", slots: $0.element) }
    }

    @Test func takesAllSlots() throws {
        let layout = try LayoutChoice(configuration(), hosts: hosts(2, 2, 2))
        #expect(layout.ranks == 6 && layout.data == 6)
        #expect(layout.ranksOnHosts == hosts(2, 2, 2))
    }

    @Test func moreRanksOrMoreHostsAreLarger() throws {
        func record(_ ranks: [ComputeHost]) -> LaunchRecord {
            LaunchRecord(id: "a.1", number: 1, pid: 0, hosts: ranks, data: ranks.reduce(0) { $0 + $1.slots }, tensor: 1)
        }
        let layout = try LayoutChoice(configuration("parallel.reduction=elastic"), hosts: hosts(2, 2, 2, 2), limit: 4)
        #expect(layout.ranksOnHosts == hosts(1, 1, 1, 1))
        #expect(layout.isLarger(than: record(hosts(2, 1, 1))) && layout.isLarger(than: record(hosts(1, 1))))
        #expect(!layout.isLarger(than: record(hosts(1, 1, 1, 1))) && !layout.isLarger(than: record(hosts(2, 2, 2, 2))))
        #expect((0..<4).map { record(hosts(2, 1, 1)).host(of: $0)?.name } == ["node0", "node0", "node1", "node2"])
        #expect(record(hosts(2, 1)).host(of: 3) == nil)
    }

    @Test func shrinksByDataAndKeepsTensor() throws {
        let layout = try LayoutChoice(configuration("parallel.tensor=2"), hosts: hosts(2, 3))
        #expect(layout.data == 2 && layout.tensor == 2 && layout.ranks == 4)
        #expect(layout.ranksOnHosts == hosts(2, 2))
    }

    @Test func elasticTakesPowersOfTwo() throws {
        let layout = try LayoutChoice(configuration("parallel.reduction=elastic"), hosts: hosts(1, 1, 1))
        #expect(layout.data == 2)
        #expect(layout.ranksOnHosts == hosts(1, 1))
    }

    @Test func neverMoreRanksThanMicroBatchesOrWanted() throws {
        #expect(try LayoutChoice(configuration(), hosts: hosts(100)).data == 8)
        #expect(try LayoutChoice(configuration(), hosts: hosts(100), limit: 3).data == 3)
        #expect(try LayoutChoice(configuration("parallel.data=2"), hosts: hosts(100)).data == 2)
    }

    @Test func withoutHostsOrRanksThisHostHasThoseOfTheConfiguration() throws {
        func slots(_ overrides: String..., ranks: Int? = nil) throws -> [Int] {
            let configuration = try RunConfiguration(
                yaml: "model: {preset: tiny}\ndata: {path: d}\nschedule: {steps: 5000}\nbatch: {global_sequences: 8}",
                overrides: overrides)
            return try RunRequest(configuration, ranks: ranks, worker: "/bin/true").hosts.map(\.slots)
        }
        #expect(try slots() == [1])
        #expect(try slots("parallel.data=2") == [2])
        #expect(try slots("parallel.data=2", "parallel.tensor=2") == [4])
        #expect(try slots("parallel.data=2", ranks: 1) == [1])
    }

    @Test func spreadsOverHosts() throws {
        #expect(try LayoutChoice(configuration(), hosts: hosts(8, 8), limit: 4).ranksOnHosts == hosts(2, 2))
    }

    @Test func saysWhenNothingFits() throws {
        let configuration = try configuration("parallel.tensor=4")
        #expect(throws: CommandFailure.self) { try LayoutChoice(configuration, hosts: hosts(2, 3)) }
        let nobody = #expect(throws: CommandFailure.self) { try LayoutChoice(configuration, hosts: []) }
        #expect(nobody?.description.hasPrefix("no host can be used") == true)
    }

    @Test func readsSlurmsNumbers() {
        #expect(HostList.tasksPerNode("2(x3),1") == [2, 2, 2, 1])
        #expect(HostList.tasksPerNode("4") == [4])
    }
}
