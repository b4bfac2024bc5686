import TransfusionCheckpoint
import TransfusionCore

/// Named tensors with contents that follow from name and place, cut for any number of ranks.
struct SyntheticState {
    var tensors: [TensorBox]

    /// A little of everything: matrices that no rank count divides, vectors, a scalar, several element types.
    static let small = SyntheticState(tensors: [
        TensorBox(name: "model.embed_tokens.weight", type: .f32, shape: [37, 12]),
        TensorBox(name: "model.layers.0.self_attn.q_proj.weight", type: .f32, shape: [12, 12]),
        TensorBox(name: "model.layers.0.mlp.down_proj.weight", type: .bf16, shape: [12, 29]),
        TensorBox(name: "model.norm.weight", type: .f32, shape: [12]),
        TensorBox(name: "conv.weight", type: .f16, shape: [4, 3, 3, 3]),
        TensorBox(name: "counts", type: .i64, shape: [5]),
        TensorBox(name: "pixels", type: .u8, shape: [3, 7]),
        TensorBox(name: "scale", type: .f32, shape: []),
    ])

    /// The bytes of a box: every element of every tensor is another.
    static func bytes(of box: TensorBox) -> [UInt8] {
        let seed = box.name.utf8.reduce(UInt64(5381)) { $0 &* 33 &+ UInt64($1) }
        let indices = box.sizes.indices.reduce([0]) { indices, axis in
            indices.flatMap { index in
                (0..<box.sizes[axis]).map { index * box.globalShape[axis] + box.offsets[axis] + $0 }
            }
        }
        return indices.flatMap { index in
            (0..<box.type.byteCount).map { byte in
                UInt8(truncatingIfNeeded: ((seed &+ UInt64(index * 8 + byte)) &* 0x9E37_79B9_7F4A_7C15) >> 40)
            }
        }
    }

    /// What rank `rank` of `data × tensor` ranks holds: matrices cut along an axis over the tensor-parallel ranks,
    /// then each slice cut flat over the data-parallel ones.
    func boxes(rank: Int, data: Int, tensor: Int) -> [TensorBox] {
        let (dataRank, tensorRank) = (rank / tensor, rank % tensor)
        return tensors.flatMap { whole -> [TensorBox] in
            var slice = whole
            if whole.sizes.count >= 2 {
                let axis = whole.name.contains("down_proj") ? 1 : 0
                let range = Self.part(tensorRank, of: tensor, whole.sizes[axis])
                slice.offsets[axis] = range.lowerBound
                slice.sizes[axis] = range.count
            } else if tensorRank != 0 {
                return []
            }
            return slice.boxes(ofFlatRange: Self.part(dataRank, of: data, slice.count))
        }
    }

    static func part(_ index: Int, of parts: Int, _ count: Int) -> Range<Int> {
        count * index / parts..<count * (index + 1) / parts
    }

    /// The pieces of a rank, each computed when it is written.
    func pieces(rank: Int = 0, data: Int = 1, tensor: Int = 1) -> [ShardPiece] {
        boxes(rank: rank, data: data, tensor: tensor).map { box in
            ShardPiece(box) { range, memory in
                memory.copyBytes(from: Self.bytes(of: box)[range])
            }
        }
    }
}

extension Checkpoint {
    func bytes(of box: TensorBox) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: box.byteCount) { buffer, count in
            try read(box, into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: box.byteCount))
            count = box.byteCount
        }
    }
}

let exampleMetadata = CheckpointMetadata(
    model: .object(["hidden_size": .number(12), "rms_norm_eps": .number(1e-5)]), tokenizer: "sha256:ab",
    data: "sha256:cd",
    layout: ["data": 2, "tensor": 1], scalars: ["tokens": .number(0x1p40), "note": .string("a \"b\"/c")])
