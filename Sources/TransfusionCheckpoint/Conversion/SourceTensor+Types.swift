internal import Synchronization
internal import TransfusionCore

extension SourceTensor {
    /// The same numbers in another type, rounded to nearest where it is narrower.
    /// - Parameter watch: Refuses numbers that the type has no place for, and takes note of what is no finite number; nil
    ///   for a type that holds all numbers of this tensor's.
    func converted(to target: ElementType, watchedBy watch: NumberWatch? = nil) -> SourceTensor {
        guard type.isFloat, target.isFloat, target != type || watch != nil else { return self }
        return SourceTensor(target, shape) { range, buffer in
            let elements = range.lowerBound / target.byteCount..<range.upperBound / target.byteCount
            if target == type {
                try read(range, buffer)
                try watch?.look(at: UnsafeRawBufferPointer(buffer), type, of: self, from: elements.lowerBound)
                return
            }
            let source = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(1, elements.count * type.byteCount), alignment: 16)
            defer { source.deallocate() }
            let used = UnsafeMutableRawBufferPointer(rebasing: source[..<(elements.count * type.byteCount)])
            try read(elements.lowerBound * type.byteCount..<elements.upperBound * type.byteCount, used)
            Self.convert(UnsafeRawBufferPointer(used), type, into: buffer, target, count: elements.count)
            try watch?.look(
                at: UnsafeRawBufferPointer(buffer), target, madeOf: UnsafeRawBufferPointer(used), of: self,
                from: elements.lowerBound)
        }
    }

    private static func convert(
        _ source: UnsafeRawBufferPointer, _ from: ElementType, into target: UnsafeMutableRawBufferPointer,
        _ to: ElementType, count: Int
    ) {
        for index in 0..<count {
            let value = source.float(index, from)
            switch to {
            case .f32: target.storeBytes(of: value, toByteOffset: index &* 4, as: Float.self)
            case .bf16: target.storeBytes(of: BFloat16(value).bits, toByteOffset: index &* 2, as: UInt16.self)
            default: target.storeBytes(of: Float16(value), toByteOffset: index &* 2, as: Float16.self)
            }
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The element of a floating-point type at an index.
    fileprivate func float(_ index: Int, _ type: ElementType) -> Float {
        switch type {
        case .f32: loadUnaligned(fromByteOffset: index &* 4, as: Float.self)
        case .bf16: BFloat16(bits: loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self)).float
        default: Float(loadUnaligned(fromByteOffset: index &* 2, as: Float16.self))
        }
    }

    /// The first element that is infinite or NaN.
    fileprivate func firstNonFinite(_ type: ElementType) -> Int? {
        (0..<count / type.byteCount).first { !float($0, type).isFinite }
    }
}

/// Looks at the numbers of a tensor on their way into a file.
struct NumberWatch: Sendable {
    /// The tensor's name, and the file that it goes to.
    let name: String
    let path: String
    let findings: NonFiniteFindings

    /// Looks at elements that were converted, or not.
    /// - Parameters:
    ///   - source: The elements before their conversion; nil for none.
    ///   - first: The index of the first of them in the tensor.
    /// - Throws: When a number has become infinite.
    fileprivate func look(
        at elements: UnsafeRawBufferPointer, _ type: ElementType, madeOf source: UnsafeRawBufferPointer? = nil,
        of tensor: SourceTensor, from first: Int
    ) throws {
        guard let index = elements.firstNonFinite(type) else { return }
        guard let source else { return findings.add(name, elements.float(index, type)) }
        for index in index..<elements.count / type.byteCount where !elements.float(index, type).isFinite {
            let value = source.float(index, tensor.type)
            guard value.isFinite else {
                findings.add(name, value)
                continue
            }
            throw CheckpointError(
                path,
                "tensor \(name) has \(value) at \(tensor.place(of: first + index)), beyond the \(type.largest) that "
                    + "\(type) can hold; take \(type == .f16 ? "bf16 or f32" : "f32")")
        }
    }
}

/// Tensors that hold numbers which are not finite, and hold them in the source already.
final class NonFiniteFindings: Sendable {
    private let values = Mutex<[String: Float]>([:])

    func add(_ name: String, _ value: Float) {
        values.withLock { if $0[name] == nil { $0[name] = value } }
    }

    /// A line for each tensor, in order.
    var lines: [String] {
        values.withLock { $0 }.sorted { $0.key < $1.key }.map { "tensor \($0) holds \($1), as the source does" }
    }
}

extension SourceTensor {
    /// The index of an element along each axis.
    fileprivate func place(of index: Int) -> [Int] {
        var rest = index
        var place: [Int] = []
        for size in shape.reversed() {
            place.insert(rest % size, at: 0)
            rest /= size
        }
        return place
    }
}

extension ElementType {
    /// The largest number of a floating-point type.
    fileprivate var largest: Float {
        switch self {
        case .f16: Float(Float16.greatestFiniteMagnitude)
        case .bf16: BFloat16(bits: 0x7F7F).float
        default: .greatestFiniteMagnitude
        }
    }
}
