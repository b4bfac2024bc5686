import Testing
import TransfusionCore
import TransfusionParallel

@Suite struct ProcessMeshTests {
    @Test func whatTensorLeavesIsData() throws {
        let shape = try MeshShape(hosts: [0, 0, 0, 0, 0, 0, 0, 0], data: nil, tensor: 2)
        #expect(shape.data == 4 && shape.tensor == 2)
        #expect(try MeshShape(hosts: [0], data: nil, tensor: 1).description == "data 1 × tensor 1")
    }

    @Test(arguments: [(3, 2), (8, 2), (1, 4), (0, 8), (2, 0)]) func otherProductsAreRefused(_ data: Int, _ tensor: Int)
    {
        let error = #expect(throws: MeshError.self) {
            try MeshShape(hosts: [0, 0, 0, 0, 0, 0, 0, 0], data: data, tensor: tensor)
        }
        #expect(
            error?.description
                == "data \(data) × tensor \(tensor) does not fit 8 ranks; "
                + "possible here (data × tensor): 8 × 1, 4 × 2, 2 × 4, 1 × 8")
    }

    @Test func tensorNeighboursMustShareAHost() {
        let error = #expect(throws: MeshError.self) {
            try MeshShape(hosts: [0, 0, 1, 1, 2, 2, 3, 3], data: 2, tensor: 4)
        }
        #expect(
            error?.description
                == "tensor 4 does not divide the 2 ranks of each host, and tensor-parallel ranks must share a host; "
                + "possible here (data × tensor): 8 × 1, 4 × 2")
        #expect(throws: MeshError.self) { try MeshShape(hosts: [0, 0, 0, 1], data: nil, tensor: 2) }
    }

    @Test func ranksKnowTheirRowAndColumn() throws {
        let places = try ThreadGroup.run(ranks: 6) { world in
            let mesh = try ProcessMesh(world, data: 3, tensor: 2)
            let row = try mesh.tensor.gather([UInt8(world.rank)], root: 0, site: "row")
            let column = try mesh.data.gather([UInt8(world.rank)], root: 0, site: "column")
            #expect(mesh.data.size == 3 && mesh.tensor.size == 2)
            return [mesh.data.rank, mesh.tensor.rank] + (row + column).flatMap { $0.map(Int.init) }
        }
        #expect(places[0] == [0, 0, 0, 1, 0, 2, 4])
        #expect(places[1] == [0, 1, 1, 3, 5])
        #expect(places[2] == [1, 0, 2, 3])
        #expect(places[5] == [2, 1])
    }

    @Test func aMeshOfOneNeedsNobody() throws {
        let mesh = try ProcessMesh(SingleRank())
        #expect(mesh.data.size == 1 && mesh.tensor.size == 1)
        #expect(try mesh.report(placement: "here") == ["rank 0: data 0, tensor 0: here"])
    }
}
