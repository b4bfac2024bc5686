/// What a pickle of tensors says, read without running anything of it.
///
/// A pickle is a program that makes objects and calls functions by name. Only what dictionaries of tensors need is known
/// here; every other instruction and every other name is refused. Values lie in one list and refer to each other by their
/// place in it, so that no nesting, however deep, costs more than its bytes.
/// ### References
/// Python's `pickletools`, protocols 2 to 5; torch/_weights_only_unpickler.py for the names.
struct Pickle {
    enum Value {
        case none
        case number(Int)
        case string(String)
        case tuple([Int])
        case dictionary([(key: Int, value: Int)])
        /// A name of Python's, as in `torch.FloatStorage`.
        case name(String)
        case storage(Storage)
        case tensor(Tensor)
        /// Anything that no tensor is made of.
        case other
    }

    /// A member of the archive as numbers of one type.
    struct Storage {
        /// As in `FloatStorage`.
        let type: String
        let member: String
        let count: Int
    }

    struct Tensor {
        let storage: Storage
        let offset: Int
        let shape: [Int]
        let strides: [Int]
    }

    private(set) var values: [Value] = []
    private(set) var root = 0

    private let bytes: [UInt8]
    private let path: String
    private var position = 0
    private var stack: [Int] = []
    private var marks: [Int] = []
    private var memo: [Int: Int] = [:]

    /// Where it ends in the bytes.
    var end: Int { position }

    /// - Parameter start: Where it begins in the bytes.
    init(_ bytes: [UInt8], from start: Int = 0, path: String) throws {
        self.bytes = bytes
        self.path = path
        position = start
        while try step() {}
    }

    private func damaged() -> CheckpointError { CheckpointError(path, "has a damaged pickle at byte \(position)") }

    private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.count - position else { throw damaged() }
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// A little-endian number without a sign; `width` bytes.
    private mutating func number(_ width: Int) throws -> Int {
        let value = try take(width).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard let number = Int(exactly: value) else { throw damaged() }
        return number
    }

    private mutating func text(_ count: Int) throws -> String {
        guard let text = String(validating: try take(count), as: UTF8.self) else { throw damaged() }
        return text
    }

    private mutating func line() throws -> String {
        guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else { throw damaged() }
        defer { position = end + 1 }
        return try text(end - position)
    }

    private mutating func push(_ value: Value) {
        stack.append(values.count)
        values.append(value)
    }

    private mutating func pop() throws -> Int {
        guard stack.count > (marks.last ?? 0), let top = stack.popLast() else { throw damaged() }
        return top
    }

    private mutating func popToMark() throws -> [Int] {
        guard let mark = marks.popLast() else { throw damaged() }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[mark...])
    }

    private mutating func tuple(_ count: Int) throws {
        var items: [Int] = []
        for _ in 0..<count { items.append(try pop()) }
        push(.tuple(items.reversed()))
    }

    private mutating func remember(_ index: Int) throws {
        guard let top = stack.last else { throw damaged() }
        memo[index] = top
    }

    private mutating func recall(_ index: Int) throws {
        guard let value = memo[index] else { throw damaged() }
        stack.append(value)
    }

    /// Adds items to the container below them; only dictionaries keep theirs.
    private mutating func fill(_ items: [Int], isDictionary: Bool) throws {
        guard let container = stack.last else { throw damaged() }
        guard isDictionary, case .dictionary(var entries) = values[container] else { return }
        guard items.count.isMultiple(of: 2) else { throw damaged() }
        // Moved out and back in, so that it is not copied.
        values[container] = .none
        for index in stride(from: 0, to: items.count, by: 2) { entries.append((items[index], items[index + 1])) }
        values[container] = .dictionary(entries)
    }

    /// Runs one instruction; false at the end.
    private mutating func step() throws -> Bool {
        let code = try take(1).first ?? 0
        switch code {
        case 0x80: _ = try take(1)  // PROTO
        case 0x95: _ = try take(8)  // FRAME
        case UInt8(ascii: "."):
            root = try pop()
            return false
        case UInt8(ascii: "("): marks.append(stack.count)
        case UInt8(ascii: "0"): _ = try pop()
        case UInt8(ascii: "}"): push(.dictionary([]))
        case UInt8(ascii: "]"), 0x8F: push(.other)  // EMPTY_LIST, EMPTY_SET
        case UInt8(ascii: ")"): push(.tuple([]))
        case UInt8(ascii: "N"): push(.none)
        case 0x88: push(.number(1))  // NEWTRUE
        case 0x89: push(.number(0))  // NEWFALSE
        case UInt8(ascii: "t"): push(.tuple(try popToMark()))
        case 0x85...0x87: try tuple(Int(code) - 0x84)
        case UInt8(ascii: "a"), UInt8(ascii: "s"):  // APPEND, SETITEM
            var items = [try pop()]
            if code == UInt8(ascii: "s") { items.insert(try pop(), at: 0) }
            try fill(items, isDictionary: code == UInt8(ascii: "s"))
        case UInt8(ascii: "e"), 0x90: try fill(popToMark(), isDictionary: false)  // APPENDS, ADDITEMS
        case UInt8(ascii: "u"): try fill(popToMark(), isDictionary: true)
        case UInt8(ascii: "q"): try remember(number(1))
        case UInt8(ascii: "r"): try remember(number(4))
        case 0x94: try remember(memo.count)
        case UInt8(ascii: "h"): try recall(number(1))
        case UInt8(ascii: "j"): try recall(number(4))
        case UInt8(ascii: "c"), 0x93, UInt8(ascii: "R"), 0x81, UInt8(ascii: "b"), UInt8(ascii: "Q"):
            try call(code)
        default: try scalar(code)
        }
        return true
    }

    /// The instructions that name, make or change objects.
    private mutating func call(_ code: UInt8) throws {
        switch code {
        case UInt8(ascii: "c"):
            let module = try line()
            push(.name(try Names.checked(module + "." + (try line()), path)))
        case 0x93:
            let name = try pop(), module = try pop()
            guard case .string(let module) = values[module], case .string(let name) = values[name] else {
                throw damaged()
            }
            push(.name(try Names.checked(module + "." + name, path)))
        case UInt8(ascii: "b"): _ = try pop()  // BUILD: attributes of an object, which are of no use
        case UInt8(ascii: "Q"): push(try storage(pop()))
        default:
            let arguments = try pop(), function = try pop()
            guard case .tuple(let items) = values[arguments] else { throw damaged() }
            guard case .name(let name) = values[function] else { return push(.other) }
            push(try result(of: name, items))
        }
    }

    private mutating func scalar(_ code: UInt8) throws {
        switch code {
        case UInt8(ascii: "K"): push(.number(try number(1)))
        case UInt8(ascii: "M"): push(.number(try number(2)))
        case UInt8(ascii: "J"): push(.number(Int(Int32(truncatingIfNeeded: try number(4)))))
        case 0x8A:
            let count = try number(1), digits = try take(count)
            guard count <= 8 else { return push(.other) }
            let value = digits.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let unused = UInt64(64 - 8 * count)
            push(.number(count == 0 ? 0 : Int(truncatingIfNeeded: Int64(bitPattern: value << unused) >> Int64(unused))))
        case UInt8(ascii: "G"):
            _ = try take(8)
            push(.other)
        case UInt8(ascii: "X"): push(.string(try text(number(4))))
        case 0x8C: push(.string(try text(number(1))))
        case 0x8D: push(.string(try text(number(8))))
        case UInt8(ascii: "U"), UInt8(ascii: "C"):  // strings of Python 2, bytes
            _ = try take(number(1))
            push(.other)
        case UInt8(ascii: "T"), UInt8(ascii: "B"):
            _ = try take(number(4))
            push(.other)
        case 0x8E:
            _ = try take(number(8))
            push(.other)
        default:
            throw CheckpointError(
                path,
                "has the pickle instruction \(Names.instruction(code)) at byte \(position - 1), which no tensor needs")
        }
    }
}

extension Pickle {
    func string(_ value: Int) -> String? {
        if case .string(let string) = values[value] { string } else { nil }
    }

    private func integer(_ value: Int) throws -> Int {
        guard case .number(let number) = values[value], number >= 0 else { throw damaged() }
        return number
    }

    private func integers(_ value: Int) throws -> [Int] {
        guard case .tuple(let items) = values[value], items.count <= 16 else { throw damaged() }
        return try items.map(integer)
    }

    /// `('storage', type, member, device, count)`, and in old files None.
    private func storage(_ value: Int) throws -> Value {
        guard case .tuple(let items) = values[value], items.count == 5 || items.count == 6,
            string(items[0]) == "storage",
            case .name(let type) = values[items[1]], let member = string(items[2])
        else { throw damaged() }
        if items.count == 6 {
            guard case .none = values[items[5]] else {
                throw CheckpointError(path, "is of the form that PyTorch wrote before version 0.4; save it anew")
            }
        }
        return .storage(
            Storage(type: String(type.drop { $0 != "." }.dropFirst()), member: member, count: try integer(items[4])))
    }

    /// What a call gives. Nothing is called: these are the functions that PyTorch names when it saves tensors.
    private func result(of name: String, _ arguments: [Int]) throws -> Value {
        switch name {
        case "collections.OrderedDict": return .dictionary([])
        case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
            guard let first = arguments.first, case .tensor = values[first] else { throw damaged() }
            return values[first]
        case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor":
            guard arguments.count >= 4, case .storage(let storage) = values[arguments[0]] else { throw damaged() }
            return .tensor(
                Tensor(
                    storage: storage, offset: try integer(arguments[1]), shape: try integers(arguments[2]),
                    strides: try integers(arguments[3])))
        case "torch.Size":
            guard let first = arguments.first else { throw damaged() }
            return values[first]
        default: return .other
        }
    }

    private enum Names {
        /// What is known, or is beside weights so often that it is passed over: it is not called either.
        private static let allowed: Set = [
            "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "torch.Size", "torch.device",
            "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
            "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "argparse.Namespace", "__builtin__.set",
            "builtins.set", "__builtin__.dict", "builtins.dict", "__builtin__.int", "builtins.int", "__builtin__.list",
            "builtins.list", "__builtin__.long", "typing.Any", "_codecs.encode", "pathlib.PosixPath", "numpy.dtype",
            "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
            "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
        ]
        private static let allowedStarts = ["pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf."]
        private static let dtypes: Set = [
            "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
        ]

        static func checked(_ name: String, _ path: String) throws -> String {
            let isOfTorch = name.hasPrefix("torch.") && name.split(separator: ".").count == 2
            let isStorage = isOfTorch && name.hasSuffix("Storage")
            if isStorage || isOfTorch && dtypes.contains(String(name.dropFirst(6))) || allowed.contains(name)
                || allowedStarts.contains(where: name.hasPrefix)
            {
                return name
            }
            let advice =
                name.hasPrefix("torch.nn.") ? "; a whole module was saved: save its state_dict()" : ""
            throw CheckpointError(path, "asks for \(name), which is not needed for tensors and is not run\(advice)")
        }

        /// Python's name of an instruction that is not known here.
        static func instruction(_ code: UInt8) -> String {
            let names: [Character: String] = [
                "F": "FLOAT", "I": "INT", "L": "LONG", "P": "PERSID", "S": "STRING", "V": "UNICODE", "d": "DICT",
                "g": "GET", "i": "INST", "l": "LIST", "o": "OBJ", "p": "PUT", "1": "POP_MARK", "2": "DUP",
            ]
            let others: [UInt8: String] = [
                0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8B: "LONG4", 0x91: "FROZENSET", 0x92: "NEWOBJ_EX",
                0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
            ]
            return names[Character(UnicodeScalar(code))] ?? others[code] ?? "number \(code)"
        }
    }
}
