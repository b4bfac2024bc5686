internal import Foundation

/// One case of a file in Tests/Fixtures: named tensors that another program computed.
public struct Fixture: Sendable, CustomStringConvertible {
    public struct Values: Sendable {
        public let shape: [Int]
        /// The elements, whatever their type in the file.
        public let floats: [Float]

        public init(shape: [Int], floats: [Float]) {
            self.shape = shape
            self.floats = floats
        }

        public var integers: [Int32] { floats.map { Int32($0) } }
    }

    public let name: String
    public let values: [String: Values]

    public var description: String { name }

    public subscript(_ key: String) -> Values {
        guard let found = values[key] else { preconditionFailure("the fixture '\(name)' has no tensor '\(key)'") }
        return found
    }

    /// The one element of a scalar.
    public func scalar(_ key: String) -> Float { self[key].floats[0] }

    /// Every case of `file.safetensors`, whose tensors are called `case.tensor`.
    public static func all(_ file: String) -> [Fixture] {
        var cases: [String: [String: Values]] = [:]
        for (key, value) in read(Fixtures.path(file + ".safetensors")) {
            let dot = key.firstIndex(of: ".") ?? key.endIndex
            cases[String(key[..<dot]), default: [:]][String(key[dot...].dropFirst())] = value
        }
        return cases.map { Fixture(name: $0, values: $1) }.sorted { $0.name < $1.name }
    }

    public static func one(_ file: String, _ name: String) -> Fixture {
        guard let found = all(file).first(where: { $0.name == name }) else {
            preconditionFailure("\(file).safetensors has no case '\(name)'")
        }
        return found
    }

    /// Every tensor of a file as one case.
    public static func whole(_ path: String) -> Fixture {
        Fixture(name: path, values: read(Fixtures.path(path)))
    }

    /// Every tensor of a file anywhere, such as one that a test wrote.
    public static func whole(path: String) -> Fixture {
        Fixture(name: path, values: read(path))
    }

    /// A reader of its own, so that a fault in the project's reader cannot hide in both sides of a comparison.
    private static func read(_ path: String) -> [String: Values] {
        let file = URL(filePath: path)
        guard let data = try? Data(contentsOf: file), data.count > 8 else {
            preconditionFailure("\(file.path) cannot be read; Tests/Fixtures/README.md says how it is made")
        }
        let headerCount = (0..<8).reversed().reduce(0) { $0 << 8 | Int(data[$1]) }
        let header = try? JSONSerialization.jsonObject(with: data[8..<8 + headerCount]) as? [String: [String: Any]]
        guard let header else { preconditionFailure("\(file.path) has no safetensors header") }
        var tensors: [String: Values] = [:]
        for (name, entry) in header where name != "__metadata__" {
            guard let shape = entry["shape"] as? [Int], let span = entry["data_offsets"] as? [Int],
                let type = entry["dtype"] as? String
            else { preconditionFailure("\(file.path): the entry of \(name) is incomplete") }
            let bytes = data[8 + headerCount + span[0]..<8 + headerCount + span[1]]
            let words = bytes.withUnsafeBytes { raw in
                (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) }
            }
            let floats: [Float] =
                switch type {
                case "F32": words.map { Float(bitPattern: $0) }
                case "I32": words.map { Float(Int32(bitPattern: $0)) }
                default: preconditionFailure("\(file.path): \(name) has type \(type)")
                }
            tensors[name] = Values(shape: shape, floats: floats)
        }
        return tensors
    }
}

/// `‖a − b‖ / ‖b‖`; infinite when they differ in length or in what is not finite, and when `b` is zero and `a` is not.
public func relativeError(_ a: [Float], _ b: [Float]) -> Double {
    guard a.count == b.count else { return .infinity }
    var difference = 0.0
    var norm = 0.0
    for (x, y) in zip(a, b) {
        difference += (Double(x) - Double(y)) * (Double(x) - Double(y))
        norm += Double(y) * Double(y)
    }
    if difference == 0 { return 0 }
    let error = (difference / norm).squareRoot()
    return error.isNaN ? .infinity : error
}
