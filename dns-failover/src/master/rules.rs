//! The rules that zone files are read by.

use crate::diagnostic::rules;

const MASTER: &str = "RFC 1035 section 5.1";

rules! {
    CLOSES_NOTHING error "READ01" MASTER, "remove the parenthesis, or open one before it; within a name or string write \\)";
    NEVER_CLOSED error "READ02" MASTER, "close the parenthesis at the end of the record; within a name or string write \\(";
    OPEN_QUOTES error "READ03" MASTER, "end the string with a quotation mark; within a string write \\\"";
    BAD_ESCAPE error "READ04" MASTER, "write a backslash and one character, or a backslash and three decimal digits up to 255";
    UNKNOWN_DIRECTIVE error "READ05" MASTER, "there are $ORIGIN, $TTL and $INCLUDE; write the records of a $GENERATE out";
    BAD_DIRECTIVE error "READ06" "RFC 1035 section 5.1, RFC 2308 section 4", "write $ORIGIN NAME, $TTL SECONDS or $INCLUDE FILE [NAME]";
    REFUSED_INCLUDE error "READ07" MASTER, "included files must lie below the folder of zone files, in few levels and of bounded size";
    NO_OWNER error "READ08" MASTER, "begin the line with the name that the record belongs to";
    NO_TTL error "READ09" "RFC 2308 section 4", "put $TTL at the top of the file, or a TTL before the type";
    BAD_TTL error "READ10" "RFC 2181 section 8", "write seconds up to 2147483647, or units as in 1h30m";
    UNKNOWN_TYPE error "READ11" "RFC 3597 section 5", "write the mnemonic of a type, or TYPE and its number";
    NO_TYPE error "READ12" MASTER, "write the type and what belongs to it";
    META_TYPE error "READ13" "RFC 6895 section 3.1", "remove the record; the type occurs in questions and messages only";
    WRONG_CLASS error "READ14" "RFC 1035 section 5.2", "all records of a zone have one class, nearly always IN";
    TOO_SHORT error "READ15" MASTER, "complete the record; parentheses let it go on over lines";
    TOO_LONG error "READ16" MASTER, "remove what follows the record, or put a semicolon before it; text with spaces wants quotation marks";
    BAD_NAME error "READ17" "RFC 1035 section 3.1, RFC 2181 section 11", "labels have 1 to 63 octets and names 255; end absolute names with a dot";
    OUT_OF_ZONE error "READ18" "RFC 1035 section 5.2", "names without a dot at their end get the origin appended; records of other zones belong into their files";
    BAD_NUMBER error "READ19" MASTER, "write a decimal number within the range of the field";
    BAD_IPV4 error "READ20" "RFC 1035 section 3.4.1", "write four numbers of 0 to 255 with dots between them, as in 192.0.2.1";
    BAD_IPV6 error "READ21" "RFC 3596 section 2.4, RFC 4291 section 2.2", "write an address as in 2001:db8::1";
    BAD_HEX error "READ22" "RFC 4648 section 8", "write an even number of hexadecimal digits";
    BAD_BASE64 error "READ23" "RFC 4648 section 4", "write Base64 with its padding; spaces may stand anywhere in it";
    LONG_STRING error "READ24" "RFC 1035 section 3.3", "split the text into several strings of at most 255 octets; readers put them together again";
    BAD_GENERIC error "READ25" "RFC 3597 section 5", "write \\#, the number of octets, and as many pairs of hexadecimal digits";
    NOT_OF_TYPE error "READ26" "RFC 3597 section 5", "the octets must be RDATA that the type allows";
    BAD_PARAMETER error "READ27" "RFC 9460 section 2.1", "write KEY or KEY=VALUE, each key once, as in alpn=h2,h3 port=8443";
    BAD_LOCATION error "READ28" "RFC 1876 section 3", "write degrees, minutes, seconds and N or S, the same with E or W, and the altitude: 51 30 12.748 N 0 7 39.611 W 0m";
    BAD_PREFIX error "READ29" "RFC 3123 section 5", "write [!]FAMILY:ADDRESS/LENGTH, as in 1:192.0.2.0/24";
    BAD_GATEWAY error "READ30" "RFC 4025 section 2.5, RFC 8777 section 4.3", "the gateway must be of the kind that the number before it says: 0 for a dot, 1 IPv4, 2 IPv6, 3 a name";
    BAD_MNEMONIC error "READ31" "RFC 4034 appendix A.1, RFC 4398 section 2.1", "write the number or one of the registered mnemonics";
    BAD_TIME error "READ32" "RFC 4034 section 3.2", "write YYYYMMDDHHmmSS or seconds since 1970";
    QUOTED error "READ33" MASTER, "remove the quotation marks; only text has them";
    BAD_TAG error "READ34" "RFC 8659 section 4.1", "a tag consists of letters and digits, such as issue, issuewild or iodef";
    BAD_ADDRESS_FIELD error "READ35" "RFC 6742, RFC 7043, RFC 1706", "write the groups of hexadecimal digits that the type wants";
    NO_APEX error "READ36" "RFC 1035 section 5.2", "name the zone with --origin, or begin the file with its SOA record";
    TOO_LARGE error "READ37" MASTER, "split the file; files of 4 GiB and more are not read";
    TOO_MANY error "READ38" MASTER, "mend these first; what comes after them was not looked at";
    TOO_MUCH_RDATA error "READ39" "RFC 1035 section 3.2.1", "a record has at most 65535 octets of RDATA; use several records";
    DOUBLE warning "READ50" "RFC 2181 section 5", "remove one of them; servers keep only one anyway";
    UNEQUAL_TTLS warning "READ51" "RFC 2181 section 5.2", "give all records of the set one TTL; the lowest was taken";
    SOA_TTL warning "READ52" "RFC 2308 section 4", "put $TTL at the top of the file; the minimum of the SOA was taken";
    LAST_TTL warning "READ53" "RFC 2308 section 4", "put $TTL at the top of the file; the TTL of the record before was taken";
    NO_LINE_END warning "READ54" "RFC 1035 section 5.1", "end the last line with a line feed; a file that was cut off looks just like this";
}
